// Shows the records: a filtered list, and one record in full at records.html#<start of its id>.
"use strict";

const viewer = { most: 300, data: null };

viewer.field = (place, name) => fpbench.field(viewer.data, name, place);

viewer.text = (value) => {
  if (value === null || value === undefined || value === "") return "–";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
};

viewer.row = (name, value) => {
  const row = document.createElement("tr");
  const head = document.createElement("th");
  head.scope = "row";
  head.textContent = name;
  const cell = document.createElement("td");
  if (value !== null && typeof value === "object" && !Array.isArray(value)) {
    cell.append(viewer.facts(value));
  } else {
    cell.textContent = viewer.text(value);
  }
  row.append(head, cell);
  return row;
};

viewer.facts = (value) => {
  const table = document.createElement("table");
  table.className = "facts inner";
  const body = table.createTBody();
  for (const [name, each] of Object.entries(value)) body.append(viewer.row(name, each));
  if (!body.rows.length) return document.createTextNode("–");
  return table;
};

viewer.show = () => {
  const id = location.hash.slice(1).toLowerCase();
  if (id && !/^[0-9a-f]{6,}$/.test(id)) return; // a link within the page
  const section = document.getElementById("record");
  section.hidden = true;
  document.getElementById("unknown").hidden = true;
  if (!id) return;
  let place = 0;
  while (place < viewer.data.count && !viewer.field(place, "record_id").startsWith(id)) place += 1;
  if (place === viewer.data.count) {
    document.getElementById("unknown").hidden = false;
    return;
  }
  const record = fpbench.record(viewer.data, place);
  section.hidden = false;
  section.querySelector("h2").textContent =
    [record.method?.label, record.point?.label, record.metric, record.variant].filter(Boolean).join(" · ");
  const first = ["record_id", "value", "low", "high", "rule", "outcome", "reason", "n", "clusters"];
  const names = [...first, ...Object.keys(record).filter((name) => !first.includes(name))];
  const body = section.querySelector("tbody");
  body.replaceChildren(...names.filter((n) => n in record).map((n) => viewer.row(n, record[n])));
  document.getElementById("json").textContent = JSON.stringify(record, null, 2);
  section.focus({ preventScroll: true });
  section.scrollIntoView();
};

viewer.readers = {
  method: (place) => viewer.field(place, "method")?.label ?? "",
  point: (place) => viewer.field(place, "point")?.label ?? "",
  metric: (place) => viewer.field(place, "metric") ?? "",
  outcome: (place) => viewer.field(place, "outcome") ?? "",
};

viewer.list = () => {
  const asked = Object.keys(viewer.readers).map((name) => [name, document.getElementById(name).value]);
  const rows = [];
  let found = 0;
  for (let place = 0; place < viewer.data.count; place += 1) {
    if (asked.some(([name, value]) => value && viewer.readers[name](place) !== value)) continue;
    found += 1;
    if (rows.length < viewer.most) rows.push(viewer.line(place));
  }
  document.getElementById("found").textContent =
    found > rows.length ? `${found} records; the first ${rows.length} are listed` : `${found} records`;
  document.getElementById("listed").tBodies[0].replaceChildren(...rows);
};

viewer.line = (place) => {
  const row = document.createElement("tr");
  const link = document.createElement("a");
  link.href = `#${viewer.field(place, "record_id").slice(0, 12)}`;
  link.textContent = viewer.field(place, "record_id").slice(0, 12);
  row.insertCell().append(link);
  for (const name of ["method", "point", "metric"]) row.insertCell().textContent = viewer.readers[name](place) || "–";
  for (const name of ["variant", "training_seed"]) row.insertCell().textContent = viewer.text(viewer.field(place, name));
  for (const name of ["value", "low", "high"]) {
    const cell = row.insertCell();
    const value = viewer.field(place, name);
    cell.className = "number";
    cell.textContent = typeof value === "number" ? value : "–";
  }
  const outcome = row.insertCell();
  outcome.textContent = viewer.readers.outcome(place);
  if (outcome.textContent !== "done") outcome.className = `outcome o-${outcome.textContent}`;
  return row;
};

viewer.start = async () => {
  const state = document.getElementById("state");
  try {
    viewer.data = await fpbench.load("");
  } catch (error) {
    state.textContent = `The records could not be read: ${error.message}.`;
    return;
  }
  for (const [name, read] of Object.entries(viewer.readers)) {
    const select = document.getElementById(name);
    const values = new Set(Array.from({ length: viewer.data.count }, (_, place) => read(place)));
    for (const value of values) {
      if (value) select.add(new Option(value, value));
    }
    select.addEventListener("change", viewer.list);
  }
  state.hidden = true;
  document.getElementById("browse").hidden = false;
  viewer.list();
  viewer.show();
  addEventListener("hashchange", viewer.show);
};

viewer.start();
