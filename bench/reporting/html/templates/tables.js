// The data of the page, how elements are made, and the tables of AUCs: the measure in their cells, the order of their rows.

const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const holder = document.createElement("template");
holder.innerHTML = "<svg></svg>";
const SVG = holder.content.firstChild.namespaceURI;

// Names come from anywhere: they become text and attributes here, never markup.
const fill = (node, attributes, children) => {
  for (const [name, value] of Object.entries(attributes || {})) node.setAttribute(name, value);
  node.append(...children.filter((c) => c !== null && c !== undefined && c !== ""));
  return node;
};
const el = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
const shape = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);
const text = (number) => data.texts[number];
// As the files have it, of two numbers that are equally near the even one: toFixed takes the larger one.
const rounded = (value, digits) => {
  const nearest = value.toFixed(digits);
  const tied = Number.isInteger(value * 2 ** (digits + 1)) && value.toFixed(digits + 1).endsWith("5");
  return tied && nearest.at(-1) % 2 ? (value - 0.25 * 10 ** -digits).toFixed(digits) : nearest;
};
const two = (value) => rounded(value, 2);
const between = (values) => (values.length > 2 ? `[${two(values[1])}, ${two(values[2])}]` : "");
const label = (x, y, words, anchor, kind) => shape("text", { x, y, "text-anchor": anchor || "middle", class: kind || "tick" }, words);

const pairs = (numbers) => numbers.flatMap((number, n) => (n % 2 ? [] : [[number, numbers[n + 1]]]));

const tables = all("table.auc").map((table) => ({
  table,
  section: table.closest("section"),
  attacks: JSON.parse(table.dataset.attacks),
  bodies: all("tbody", table).map((body) => ({ body, rows: [...body.rows] })),
  heads: all("thead th", table),
  sorted: { column: -1, best: true },
}));
const cellOf = (button) => data.cells[Number(button.dataset.cell)];
const buttons = all("button[data-cell]");
const originals = new Map();
let measure = "auc";

const describe = (cell) => {
  const [, , method, attack] = cell.at.map(text);
  const name = `${method} against ${attack}`;
  if (cell.status === "not_applicable") return `${name}: not applicable`;
  if (!cell.m.auc) return `${name}: no AUC`;
  const { title, digits } = data.measures[measure];
  const value = cell.m[measure];
  if (value === undefined) return `${name}: no ${title}`;
  if (!Array.isArray(value)) return `${name}: ${title} not reported, needs ≥ ${value}`;
  const interval = value.length > 2 ? `, ${data.level} interval ${two(value[1])} to ${two(value[2])}` : "";
  return `${name}: ${title} ${rounded(value[0], digits)}${interval}`;
};

for (const button of buttons) {
  const td = button.parentElement;
  originals.set(button, { kind: td.className, style: td.getAttribute("style"), children: [...button.childNodes] });
  fill(button, { tabindex: -1, "aria-haspopup": "dialog", "aria-label": describe(cellOf(button)) }, []);
}
for (const { table } of tables) table.querySelector("button[data-cell]")?.setAttribute("tabindex", 0);

const shade = (value) => {
  const { scale } = data.measures[measure];
  if (scale === "tpr") return [Math.round(100 * value), ""];
  if (scale === "accused") return [Math.round(100 * Math.min(1, 4 * value)), "low"];
  if (scale === "") return [0, ""];
  return [Math.round(100 * Math.abs(2 * value - 1) ** 1.6), value < 0.5 ? "low" : ""];
};

const showMeasure = (button) => {
  const td = button.parentElement;
  const original = originals.get(button);
  const cell = cellOf(button);
  button.setAttribute("aria-label", describe(cell));
  td.className = original.kind;
  td.setAttribute("style", original.style || "");
  if (measure === "auc" || !cell.m.auc) return button.replaceChildren(...original.children);
  const value = cell.m[measure];
  if (Array.isArray(value)) {
    const [strength, kind] = shade(value[0]);
    const ends = value.length > 2 ? `;--l:${100 * value[1]};--h:${100 * value[2]};--v:${100 * value[0]}` : "";
    td.className = kind;
    td.setAttribute("style", `--k:${strength}${ends}`);
    return button.replaceChildren(el("b", {}, rounded(value[0], data.measures[measure].digits)), el("small", {}, between(value)));
  }
  const [kind, shown, needs] = value === undefined ? ["na", "–", ""] : ["nr", "n/r", `needs ≥ ${value}`];
  td.className = kind;
  td.setAttribute("style", "");
  return button.replaceChildren(el("b", {}, shown), el("small", {}, needs));
};

const valueIn = (row, column) => {
  const td = row.cells[column];
  const button = td.querySelector("button[data-cell]");
  if (column === 0) return td.textContent;
  return Number.parseFloat(button ? cellOf(button).m[measure]?.[0] : td.textContent);
};

// Names are sought from the first letter on, and of false accusations the fewest are the best.
const lowestFirst = (t, column) => column === 0 || (column <= t.attacks.length && data.measures[measure]?.scale === "accused");
const reorder = (t) => {
  const { column, best } = t.sorted;
  const down = best !== lowestFirst(t, column);
  for (const { body, rows } of t.bodies) {
    const order = [...rows];
    if (column === 0) order.sort((a, b) => valueIn(a, 0).localeCompare(valueIn(b, 0)) * (down ? -1 : 1));
    else if (column > 0) {
      const last = (value) => (Number.isNaN(value) ? (down ? -Infinity : Infinity) : value);
      order.sort((a, b) => (last(valueIn(a, column)) - last(valueIn(b, column))) * (down ? -1 : 1) || 0);
    }
    body.append(...order);
  }
  t.heads.forEach((th, n) => {
    if (n === column) th.setAttribute("aria-sort", down ? "descending" : "ascending");
    else th.removeAttribute("aria-sort");
  });
};

// A first click sorts best first, a second the other way, a third brings the order of the run back.
const sortBy = (t, column) => {
  if (t.sorted.column !== column) t.sorted = { column, best: true };
  else t.sorted = t.sorted.best ? { column, best: false } : { column: -1, best: true };
  reorder(t);
};
for (const t of tables) t.heads.forEach((th, n) => th.querySelector("button").addEventListener("click", () => sortBy(t, n)));
