// The main table's tools: filter, columns, pins, and a side-by-side view of pinned methods.
// What is chosen stands in the address, so that a view can be shared as a link.
"use strict";

const board = {
  table: document.getElementById("standings"),
  said: document.getElementById("said"),
  most: 4,
};

board.rows = () => Array.from(board.table.tBodies[0].rows);
board.pinned = () => board.rows().filter((row) => row.dataset.pinned === "true");
board.heads = () => Array.from(board.table.tHead.rows[1].cells);

// -- filter ---------------------------------------------------------------------------------------

board.filter = () => {
  const words = document.getElementById("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  const kinds = new Set(
    Array.from(document.querySelectorAll("#kinds input:checked"), (input) => input.value),
  );
  let shown = 0;
  for (const row of board.rows()) {
    const text = `${row.dataset.method} ${row.dataset.kind}`.toLowerCase();
    const fits = kinds.has(row.dataset.kind) && words.every((word) => text.includes(word));
    row.hidden = !fits;
    shown += fits;
  }
  board.said.textContent = `${shown} of ${board.rows().length} methods shown`;
  board.remember();
};

board.columns = () => {
  for (const input of document.querySelectorAll("#groups input")) board.column(input.value, input.checked);
  board.remember();
};

board.column = (name, show) => {
  for (const cell of board.table.querySelectorAll("[data-group]")) {
    if (cell.dataset.group === name) cell.hidden = !show;
  }
};

board.choices = (id, names, change) => {
  const set = document.getElementById(id);
  for (const name of names) {
    const label = document.createElement("label");
    const input = document.createElement("input");
    input.type = "checkbox";
    input.checked = true;
    input.value = name;
    input.addEventListener("change", change);
    label.append(input, ` ${name}`);
    set.append(label);
  }
};

// -- pins and comparison --------------------------------------------------------------------------

board.pin = (row, on) => {
  if (on && board.pinned().length >= board.most) {
    board.said.textContent = `At most ${board.most} methods can be compared; unpin one first`;
    return;
  }
  row.dataset.pinned = String(on);
  row.querySelector(".pin").setAttribute("aria-pressed", String(on));
  board.said.textContent = `${board.pinned().length} pinned`;
  board.show();
  board.remember();
};

board.cell = (tag, from, css) => {
  const cell = document.createElement(tag);
  if (from instanceof Element) {
    cell.className = from.className;
    cell.append(...Array.from(from.childNodes, (node) => node.cloneNode(true)));
  } else {
    cell.textContent = from;
  }
  if (css) cell.className = css;
  return cell;
};

// Three digits, in the unit that the cells show; what rounds to nothing says so.
board.signed = (value) => {
  if (Math.abs(value) < 1e-12) return "0";
  const size = Math.abs(value);
  const text = size >= 1000 ? Math.round(size).toLocaleString("en") : size < 0.0005 ? "<0.0005" : size.toPrecision(3);
  return (value > 0 ? "+" : "−") + text;
};

board.difference = (a, b, column) => {
  const [x, y] = [a, b].map((row) => fpbench.value(row, column));
  const numbers = typeof x === "number" && typeof y === "number";
  return board.cell("td", numbers ? board.signed(x - y) : "–", "number");
};

board.show = () => {
  const rows = board.pinned();
  const section = document.getElementById("compare");
  section.hidden = rows.length < 2;
  if (rows.length < 2) return;
  const table = section.querySelector("table");
  const head = table.tHead.rows[0];
  const body = table.tBodies[0];
  head.replaceChildren(board.cell("th", "Measure"));
  body.replaceChildren();
  for (const row of rows) head.append(board.cell("th", row.dataset.method));
  if (rows.length === 2) head.append(board.cell("th", "Difference"));
  for (const cell of head.cells) cell.scope = "col";
  board.heads().forEach((header, column) => {
    if (column === 1) return; // the names
    const line = document.createElement("tr");
    const name = board.cell("th", header.textContent);
    name.scope = "row";
    line.append(name, ...rows.map((row) => board.cell("td", row.cells[column])));
    const bare = column === 0; // ranks have no difference
    if (rows.length === 2) line.append(bare ? board.cell("td", "–", "number") : board.difference(rows[0], rows[1], column));
    body.append(line);
  });
};

// -- the address ----------------------------------------------------------------------------------

board.remember = () => {
  const state = new URLSearchParams();
  const filter = document.getElementById("filter").value;
  const sorted = board.heads().find((header) => header.hasAttribute("aria-sort"));
  if (filter) state.set("filter", filter);
  for (const input of document.querySelectorAll("#kinds input:not(:checked)")) state.append("no", input.value);
  for (const input of document.querySelectorAll("#groups input:not(:checked)")) state.append("hide", input.value);
  for (const row of board.pinned()) state.append("pin", row.dataset.method);
  if (sorted) state.set("sort", `${sorted.cellIndex}${sorted.getAttribute("aria-sort") === "ascending" ? "" : "-"}`);
  const text = state.toString();
  history.replaceState(null, "", text ? `#view?${text}` : location.pathname + location.search);
};

board.recall = () => {
  if (!location.hash.startsWith("#view?")) return;
  const state = new URLSearchParams(location.hash.slice("#view?".length));
  document.getElementById("filter").value = state.get("filter") ?? "";
  for (const input of document.querySelectorAll("#kinds input")) {
    input.checked = !state.getAll("no").includes(input.value);
  }
  for (const input of document.querySelectorAll("#groups input")) {
    input.checked = !state.getAll("hide").includes(input.value);
    board.column(input.value, input.checked);
  }
  const sort = /^(\d+)(-?)$/.exec(state.get("sort") ?? "");
  const header = sort && board.heads()[Number(sort[1])];
  if (header) fpbench.sort(board.table, header, sort[2] ? -1 : 1);
  for (const row of board.rows()) {
    if (state.getAll("pin").includes(row.dataset.method)) board.pin(row, true);
  }
  board.filter();
};

// -- start ----------------------------------------------------------------------------------------

for (const row of board.rows()) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "pin";
  button.textContent = "Pin";
  button.setAttribute("aria-pressed", "false");
  button.setAttribute("aria-label", `Pin ${row.dataset.method} to compare`);
  button.addEventListener("click", () => board.pin(row, row.dataset.pinned !== "true"));
  row.querySelector("th").append(button);
}
board.choices("kinds", new Set(board.rows().map((row) => row.dataset.kind)), board.filter);
board.choices(
  "groups",
  new Set(Array.from(board.table.querySelectorAll(".groups [data-group]"), (h) => h.dataset.group)),
  board.columns,
);
document.getElementById("filter").addEventListener("input", board.filter);
document.getElementById("unpin").addEventListener("click", () => {
  for (const row of board.pinned()) board.pin(row, false);
});
board.table.addEventListener("sorted", board.remember);
document.getElementById("tools").hidden = false;
board.recall();
