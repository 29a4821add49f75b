// Sorting, filtering, comparing, copying and downloading. Without this script the pages stand as
// rendered: every number and chart is in them already.
"use strict";

const fpbench = {};

// -- sorting: a button in each column head --------------------------------------------------------

fpbench.value = (row, column) => {
  const cell = row.cells[column];
  if (cell.dataset.sort !== undefined) return Number(cell.dataset.sort);
  const text = cell.textContent.trim();
  if (cell.classList.contains("outcome") || text === "–") return null;
  const number = Number(text.replace(/^[<>≤×]\s*/, "").replace("−", "-").replaceAll(",", "") || NaN);
  return Number.isNaN(number) ? text : number;
};

// Texts by their words and numbers: "blur 0.05" stands before "blur 0.5", and that before "blur 1".
fpbench.words = (text) => text.split(/(-?\d+(?:\.\d+)?)/).map((part, n) => (n % 2 ? Number(part) : part));

fpbench.natural = (a, b) => {
  const [x, y] = [fpbench.words(String(a)), fpbench.words(String(b))];
  for (let n = 0; n < Math.min(x.length, y.length); n += 1) {
    const order = n % 2 ? x[n] - y[n] : x[n].localeCompare(y[n], "en");
    if (order) return order;
  }
  return x.length - y.length;
};

// What has no value stays last in both directions: it is neither best nor worst.
fpbench.compare = (a, b, direction) => {
  if (a === null || b === null) return (a === null) - (b === null);
  const numbers = typeof a === "number" && typeof b === "number";
  return direction * (numbers ? a - b : fpbench.natural(a, b));
};

// Sorting is stable, so sorting by several columns one after the other sorts by all of them.
fpbench.sort = (table, header, direction) => {
  for (const other of table.querySelectorAll("th[aria-sort]")) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
  const body = table.tBodies[0];
  const rows = Array.from(body.rows, (row) => [fpbench.value(row, header.cellIndex), row]);
  rows.sort((a, b) => fpbench.compare(a[0], b[0], direction));
  body.append(...rows.map((pair) => pair[1]));
};

for (const table of document.querySelectorAll("table.sortable")) {
  const heads = table.tHead.rows[table.tHead.rows.length - 1];
  for (const header of heads.cells) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...header.childNodes);
    header.append(button);
    button.addEventListener("click", () => {
      // A first click shows the best end of a column first.
      const first = header.dataset.better === "high" ? -1 : 1;
      const before = header.getAttribute("aria-sort");
      const next = before === null ? first : before === "ascending" ? -1 : 1;
      fpbench.sort(table, header, next);
      table.dispatchEvent(new CustomEvent("sorted"));
    });
  }
}

// -- legends: one method stands out, the others step back -----------------------------------------

for (const item of document.querySelectorAll(".legend li[data-index]")) {
  const button = document.createElement("button");
  button.type = "button";
  button.setAttribute("aria-pressed", "false");
  button.append(...item.childNodes);
  item.append(button);
  button.addEventListener("click", () => {
    const lit = button.getAttribute("aria-pressed") === "false";
    for (const each of document.querySelectorAll(".legend li[data-index]")) {
      const same = each.dataset.index === item.dataset.index;
      each.firstElementChild.setAttribute("aria-pressed", String(same && lit));
    }
    document.body.classList.toggle("dimmed", lit);
    for (const series of document.querySelectorAll(".chart .s")) {
      series.classList.toggle("lit", lit && series.classList.contains(`i${item.dataset.index}`));
    }
  });
}

// -- copying --------------------------------------------------------------------------------------

for (const button of document.querySelectorAll("button[data-copy]")) {
  button.hidden = false;
  const words = button.textContent;
  button.addEventListener("click", async () => {
    const source = document.getElementById(button.dataset.copy);
    try {
      await navigator.clipboard.writeText(source.textContent);
      button.textContent = "Copied";
    } catch {
      // Some browsers give no clipboard to a page from disk; what is selected can be copied by hand.
      getSelection().selectAllChildren(source);
      button.textContent = document.execCommand("copy") ? "Copied" : "Selected: press Ctrl+C";
    }
    setTimeout(() => { button.textContent = words; }, 4000);
  });
}

// -- records: one packed script, see fpbench/report/packed.py -------------------------------------

fpbench.records = (text) => { fpbench.packed = text; };

fpbench.load = async (root) => {
  if (fpbench.packed === undefined) {
    await new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = `${root}records.js`;
      script.onload = resolve;
      script.onerror = () => reject(new Error("records.js does not lie beside this page"));
      document.head.append(script);
    });
  }
  if (typeof DecompressionStream === "undefined") {
    throw new Error("this browser cannot unpack gzip; take one of 2023 or later");
  }
  const bytes = Uint8Array.from(atob(fpbench.packed), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
};

// The value of a field of the record at a place; undefined where the record has no such field.
fpbench.field = (data, name, place) => {
  const field = data.fields[name];
  return field && field.values[field.places ? field.places[place] : place];
};

fpbench.record = (data, place) => {
  const record = {};
  for (const name of Object.keys(data.fields)) {
    const value = fpbench.field(data, name, place);
    if (value !== undefined) record[name] = value;
  }
  return record;
};

fpbench.unpack = (data) => {
  return Array.from({ length: data.count }, (_, place) => fpbench.record(data, place));
};

fpbench.csv = (data) => {
  const names = Object.keys(data.fields);
  const quoted = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const cell = (value) => {
    if (value === undefined || value === null) return "";
    return quoted(typeof value === "string" ? value : JSON.stringify(value));
  };
  const rows = fpbench.unpack(data).map((record) => names.map((n) => cell(record[n])).join(","));
  return [names.map(quoted).join(","), ...rows, ""].join("\n");
};

fpbench.jsonl = (data) => fpbench.unpack(data).map((r) => `${JSON.stringify(r)}\n`).join("");

for (const button of document.querySelectorAll("button[data-download]")) {
  button.hidden = false;
  const csv = button.dataset.download === "csv";
  button.addEventListener("click", async () => {
    const words = button.textContent;
    try {
      const data = await fpbench.load(document.body.dataset.root);
      const type = csv ? "text/csv" : "application/x-ndjson";
      const url = URL.createObjectURL(new Blob([csv ? fpbench.csv(data) : fpbench.jsonl(data)], { type }));
      const link = document.createElement("a");
      link.href = url;
      link.download = button.dataset.name;
      link.click();
      setTimeout(() => URL.revokeObjectURL(url), 60000);
    } catch (error) {
      button.textContent = `${words}: ${error.message}`;
    }
  });
}
