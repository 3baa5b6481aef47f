"use strict";
(() => {
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
  const two = (value) => value.toFixed(2);
  const between = (values) => (values.length > 2 ? `[${two(values[1])}, ${two(values[2])}]` : "");

  // --- the tables ---------------------------------------------------------------------------------------------------

  const tables = all("table.auc").map((table) => ({
    table,
    section: table.closest("section"),
    attacks: JSON.parse(table.dataset.attacks),
    bodies: all("tbody", table).map((body) => ({ body, rows: [...body.rows] })),
    heads: all("thead th", table),
    sorted: { column: -1, down: true },
  }));
  const cellOf = (button) => data.cells[Number(button.dataset.cell)];
  const buttons = all("button[data-cell]");
  const kept = new Map();
  let measure = "auc";

  const describe = (cell) => {
    const [, , method, attack] = cell.at.map(text);
    const value = cell.m.auc;
    if (cell.status === "not_applicable") return `${method} against ${attack}: not applicable`;
    if (!value) return `${method} against ${attack}: no AUC`;
    return `${method} against ${attack}: AUC ${two(value[0])}, 95 % interval ${two(value[1])} to ${two(value[2])}`;
  };

  for (const button of buttons) {
    const td = button.parentElement;
    kept.set(button, { kind: td.className, style: td.getAttribute("style"), inside: [...button.childNodes] });
    fill(button, { tabindex: -1, "aria-haspopup": "dialog", "aria-label": describe(cellOf(button)) }, []);
  }
  for (const { table } of tables) table.querySelector("button[data-cell]")?.setAttribute("tabindex", 0);

  const shade = (value) => {
    if (measure.startsWith("tpr")) return [Math.round(100 * value), ""];
    if (measure.startsWith("accused")) return [Math.round(100 * Math.min(1, 4 * value)), "low"];
    return [Math.round(100 * Math.abs(2 * value - 1) ** 1.6), value < 0.5 ? "low" : ""];
  };

  const show = (button) => {
    const td = button.parentElement;
    const was = kept.get(button);
    const cell = cellOf(button);
    td.className = was.kind;
    td.setAttribute("style", was.style || "");
    if (measure === "auc" || !cell.m.auc) return button.replaceChildren(...was.inside);
    const value = cell.m[measure];
    if (Array.isArray(value)) {
      const [strength, kind] = shade(value[0]);
      const ends = value.length > 2 ? `;--l:${100 * value[1]};--h:${100 * value[2]};--v:${100 * value[0]}` : "";
      td.className = kind;
      td.setAttribute("style", `--k:${strength}${ends}`);
      return button.replaceChildren(el("b", {}, two(value[0])), el("small", {}, between(value)));
    }
    td.className = value === undefined ? "na" : "nr";
    td.setAttribute("style", "");
    const needs = value === undefined ? "" : `needs ≥ ${value}`;
    return button.replaceChildren(el("b", {}, value === undefined ? "–" : "n/r"), el("small", {}, needs));
  };

  const valueIn = (row, column) => {
    const td = row.cells[column];
    const button = td.querySelector("button[data-cell]");
    if (column === 0) return td.textContent;
    const value = button ? cellOf(button).m[measure] : Number.parseFloat(td.textContent);
    return Array.isArray(value) ? value[0] : button ? Number.NaN : value;
  };

  const arrange = (t) => {
    const { column, down } = t.sorted;
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

  // A first click sorts the way one looks for, a second the other way, a third brings the order of the run back.
  const sortBy = (t, column) => {
    const first = column !== 0;
    if (t.sorted.column !== column) t.sorted = { column, down: first };
    else if (t.sorted.down === first) t.sorted = { column, down: !first };
    else t.sorted = { column: -1, down: true };
    arrange(t);
  };
  for (const t of tables) t.heads.forEach((th, n) => th.querySelector("button").addEventListener("click", () => sortBy(t, n)));

  const names = { methods: new Set(), attacks: new Set() };
  for (const t of tables) {
    all("tbody tr", t.table).forEach((row) => names.methods.add(row.dataset.method.toLowerCase()));
    t.attacks.forEach((attack) => names.attacks.add(attack.toLowerCase()));
  }

  const find = () => {
    const terms = byId("find").value.toLowerCase().split(/[\s,]+/).filter(Boolean);
    const among = (set) => terms.filter((term) => [...set].some((name) => name.includes(term)));
    const [ofMethods, ofAttacks] = [among(names.methods), among(names.attacks)];
    const strange = terms.some((term) => !ofMethods.includes(term) && !ofAttacks.includes(term));
    const hit = (name, wanted) => !wanted.length || wanted.some((term) => name.toLowerCase().includes(term));
    let [rows, columns] = [0, 0];
    for (const t of tables) {
      const shown = t.attacks.map((attack) => hit(attack, ofAttacks));
      let here = 0;
      for (const { body, rows: own } of t.bodies) {
        const baselines = body.classList.contains("baselines");
        for (const row of own) {
          row.hidden = strange || (baselines && !byId("baselines").checked) || !hit(row.dataset.method, ofMethods);
          here += !row.hidden;
          shown.forEach((yes, n) => { row.cells[n + 1].hidden = !yes; });
        }
      }
      shown.forEach((yes, n) => { t.heads[n + 1].hidden = !yes; });
      t.section.querySelector(".empty").hidden = here > 0;
      rows += here;
      columns = Math.max(columns, shown.filter(Boolean).length);
    }
    byId("count").textContent = `${rows} ${rows === 1 ? "row" : "rows"} × ${columns} ${columns === 1 ? "attack" : "attacks"}`;
    rove();
  };

  const points = {
    beaten: (cell) => cell.baselines?.[0] === 1,
    under: (cell) => cell.m.auc?.[0] < 0.9,
    incomplete: (cell) => cell.status === "incomplete",
    paper: (cell) => Boolean(cell.paper),
  };
  const point = () => {
    const wanted = points[byId("point").value];
    for (const button of buttons) button.parentElement.classList.toggle("dim", Boolean(wanted) && !wanted(cellOf(button)));
  };

  const visible = (button) => !button.parentElement.hidden && !button.closest("tr").hidden;
  const inOrder = () => all("button[data-cell]").filter(visible);

  // One cell of each table can be reached by Tab; arrow keys go on from there.
  const rove = (to) => {
    for (const { table } of to ? tables.filter((t) => t.table.contains(to)) : tables) {
      const own = all("button[data-cell]", table);
      const target = to || own.find((b) => b.tabIndex === 0 && visible(b)) || own.find(visible);
      own.forEach((b) => { b.tabIndex = b === target ? 0 : -1; });
    }
  };
  const walk = (event) => {
    const from = event.target.closest?.("button[data-cell]");
    if (!from) return;
    const rows = all("tbody tr", from.closest("table")).filter((row) => !row.hidden);
    const grid = rows.map((row) => all("button[data-cell]", row).filter(visible));
    let y = grid.findIndex((row) => row.includes(from));
    let x = grid[y].indexOf(from);
    if (event.key === "ArrowRight") x += 1;
    else if (event.key === "ArrowLeft") x -= 1;
    else if (event.key === "ArrowDown") y += 1;
    else if (event.key === "ArrowUp") y -= 1;
    else if (event.key === "Home") x = 0;
    else if (event.key === "End") x = grid[y].length - 1;
    else return;
    event.preventDefault();
    const to = grid[y]?.[x];
    if (to) {
      rove(to);
      to.focus();
    }
  };

  // --- pictures of one cell -----------------------------------------------------------------------------------------

  const ticks = (low, high, count) => {
    const rough = (high - low) / count || 1;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((f) => f * power).find((s) => s >= rough);
    const found = [];
    for (let n = Math.ceil(low / step - 1e-9); n * step <= high + 1e-9 * step; n += 1) found.push(Number((n * step).toPrecision(12)));
    return found;
  };
  const label = (x, y, words, anchor, kind) => shape("text", { x, y, "text-anchor": anchor || "middle", class: kind || "tick" }, words);

  const axis = (svg, low, high, x, y, left, right) => {
    svg.append(shape("path", { class: "axis", d: `M${left} ${y}H${right}` }));
    for (const tick of ticks(low, high, 5)) {
      svg.append(shape("path", { class: "axis", d: `M${x(tick)} ${y}v4` }), label(x(tick), y + 17, String(tick).replace("-", "−")));
    }
    svg.append(label((left + right) / 2, y + 33, "score (higher: more probably stolen)"));
  };

  const pairs = (numbers) => {
    const found = [];
    for (let n = 0; n < numbers.length; n += 2) found.push([numbers[n], numbers[n + 1]]);
    return found;
  };

  // Each model a dot; equal scores stand on one another.
  const stacks = (scores, x) => {
    const columns = new Map();
    for (const [score, model] of scores) {
      const at = Math.round(x(score) / 7);
      columns.set(at, [...(columns.get(at) || []), [score, model]]);
    }
    return columns;
  };
  const heap = (scores, x) => Math.max(...[...stacks(scores, x).values()].map((column) => column.length));
  const swarm = (svg, scores, kind, x, base, room) => {
    const columns = stacks(scores, x);
    const highest = Math.max(...[...columns.values()].map((c) => c.length));
    const step = Math.min(7.5, (room - 6) / highest);
    for (const column of columns.values()) {
      column.forEach(([score, model], n) => {
        const dot = { class: "dot", cx: x(score), cy: base - 5 - n * step, r: 4, fill: `var(--${kind})` };
        svg.append(shape("circle", dot, shape("title", {}, `${kind}: ${data.models[model]}, score ${score}`)));
      });
    }
  };

  const bars = (svg, counts, kind, low, width, x, base, room) => {
    const most = Math.max(...counts, 1);
    counts.forEach((count, n) => {
      const [from, to] = [x(low + n * width), x(low + (n + 1) * width)];
      const height = (room - 6) * (count / most);
      const bar = { x: from + 0.5, y: base - height, width: Math.max(1, to - from - 1), height, fill: `var(--${kind})` };
      const range = `${(low + n * width).toPrecision(3)} to ${(low + (n + 1) * width).toPrecision(3)}`;
      if (count) svg.append(shape("rect", bar, shape("title", {}, `${count} ${kind}, score ${range}`)));
    });
  };

  const spreadOf = (spread) => {
    const lines = (spread.dots || spread.bins).map(([stolen, irrelevant]) =>
      spread.dots ? [pairs(stolen), pairs(data.irrelevant[irrelevant])] : [stolen, irrelevant]);
    let [low, high] = [spread.from, spread.to];
    if (spread.dots) {
      const scores = lines.flat(2).map(([score]) => score);
      [low, high] = [Math.min(...scores), Math.max(...scores)];
    }
    if (high - low < 1e-12) [low, high] = [low - 0.5, high + 0.5];
    const [left, right] = [74, 448];
    const x = (value) => left + 8 + ((value - low) / (high - low)) * (right - left - 16);
    const highest = spread.dots ? Math.max(...lines.flat().map((scores) => heap(scores, x))) : 6;
    const room = Math.min(lines.length > 2 ? 34 : 58, 16 + 7.5 * highest);
    const lane = 2 * room + (lines.length > 1 ? 24 : 6);
    const [top, bottom] = [4, 4 + lane * lines.length];
    const svg = shape("svg", { viewBox: `0 0 460 ${bottom + 40}`, width: 460, height: bottom + 40, role: "img",
      "aria-label": "Scores of stolen and irrelevant models" });
    lines.forEach(([stolen, irrelevant], n) => {
      const start = top + n * lane + (lines.length > 1 ? 14 : 0);
      if (lines.length > 1) svg.append(label(left, start - 3, `source with seed ${spread.seeds[n]}`, "start"));
      [[stolen, "stolen"], [irrelevant, "irrelevant"]].forEach(([of, kind], k) => {
        const base = start + (k + 1) * room;
        svg.append(shape("path", { class: "axis", d: `M${left} ${base}H${right}` }), label(left - 8, base - 6, kind, "end", kind));
        if (spread.dots) swarm(svg, of, kind, x, base, room);
        else bars(svg, of, kind, low, (high - low) / of.length, x, base, room);
      });
    });
    axis(svg, low, high, x, bottom, left, right);
    const more = spread.seeds.length - lines.length;
    return [svg, more > 0 ? el("p", { class: "note" }, `And ${more} more sources, which are not shown.`) : null];
  };

  const rocOf = (spread) => {
    const [left, top, side] = [46, 8, 220];
    const svg = shape("svg", { viewBox: `0 0 ${left + side + 14} ${top + side + 44}`, width: left + side + 14, height: top + side + 44,
      role: "img", "aria-label": "ROC" });
    const x = (value) => left + value * side;
    const y = (value) => top + (1 - value) * side;
    svg.append(shape("rect", { class: "axis", x: left, y: top, width: side, height: side }),
      shape("path", { class: "axis", d: `M${x(0)} ${y(0)}L${x(1)} ${y(1)}`, "stroke-dasharray": "4 3" }));
    for (const tick of [0, 0.5, 1]) svg.append(label(x(tick), y(0) + 16, String(tick)), label(x(0) - 8, y(tick) + 4, String(tick), "end"));
    svg.append(label(x(0.5), y(0) + 34, "false alarms (FPR)"));
    svg.append(shape("text", { transform: `translate(12 ${y(0.5)}) rotate(-90)`, "text-anchor": "middle" }, "stolen found (TPR)"));
    const line = (numbers, attributes) => svg.append(shape("path", { fill: "none", stroke: "var(--accent)",
      d: `M${pairs(numbers).map(([a, b]) => `${x(a).toFixed(1)} ${y(b).toFixed(1)}`).join("L")}`, ...attributes }));
    const [mean, ...single] = spread.roc;
    for (const numbers of single) line(numbers, { "stroke-width": 1, opacity: 0.4 });
    line(mean, { "stroke-width": 2.5 });
    return [svg, single.length ? el("p", { class: "note" }, "Bold: the mean of all sources; thin: single sources.") : null];
  };

  const three = (value) => String(Number(value.toPrecision(3))).replace("-", "−");
  const middle = (values) => {
    const sorted = [...values].sort((a, b) => a - b);
    const half = sorted.length / 2;
    return sorted.length % 2 ? sorted[Math.floor(half)] : (sorted[half - 1] + sorted[half]) / 2;
  };
  const inWords = (spread) => {
    if (!spread.dots || spread.dots.length > 1) return null;
    const [stolen, irrelevant] = [spread.dots[0][0], data.irrelevant[spread.dots[0][1]]].map((n) => pairs(n).map(([s]) => s));
    const say = (values) => [`${three(Math.min(...values))} to ${three(Math.max(...values))}`, `median ${three(middle(values))}`].join(", ");
    return el("p", { class: "note" }, `Stolen: ${say(stolen)}. Irrelevant: ${say(irrelevant)}. Point at a dot to see which model it is.`);
  };

  // --- one cell -----------------------------------------------------------------------------------------------------

  const dialog = byId("cell");
  let open = null;

  const measured = (cell) => Object.entries(data.measures).filter(([key]) => key !== "auc" && cell.m[key] !== undefined)
    .map(([key, name]) => {
      const value = cell.m[key];
      const said = Array.isArray(value) ? `${two(value[0])} ${between(value)}` : `n/r (needs ≥ ${value} irrelevant models)`;
      return el("p", {}, `${name}: ${said}`);
    });

  const judged = (cell) => {
    const found = [];
    if (cell.baselines) {
      const [beaten, baseline, difference, p, adjusted, tests] = cell.baselines;
      const ahead = `AUC ${difference >= 0 ? "+" : "−"}${two(Math.abs(difference))} against ${text(baseline)}, the hardest baseline`;
      found.push(el("p", {}, el("b", {}, beaten ? "† Beats every baseline. " : "Not shown to beat every baseline. "),
        `${ahead}; p = ${p}, ${adjusted} after Holm over ${tests} tests.`));
    }
    if (cell.paper) {
      const [auc, stolen, irrelevant, same] = cell.paper;
      const models = stolen && irrelevant ? ` (${stolen} stolen / ${irrelevant} irrelevant)` : "";
      found.push(el("p", {}, `The paper has ${two(auc)}${models}, ${same ? "on the same networks" : "on other networks"}: ${text(cell.verdict)}.`));
    }
    return found;
  };

  const missing = (cell) => {
    const lost = Object.entries(cell.lost || {}).map(([status, n]) => `${n} ${status.replace("_", " ")}`).join(", ");
    const planned = `${cell.planned[0]} stolen and ${cell.planned[1]} irrelevant models were planned`;
    return [lost ? el("p", {}, `Without a score: ${lost}; ${planned}.`) : null,
      ...(cell.errors || []).map(([error, n]) => el("p", {}, el("code", {}, text(error)), n > 1 ? ` (${n} trials)` : ""))];
  };

  const about = (kind, name, more) => {
    const told = data.about[kind][name];
    return el("div", {}, el("h3", {}, name), el("p", {}, told.summary), told.paper ? el("p", {}, el("i", {}, told.paper)) : null,
      more ? el("p", {}, more) : null, el("p", { class: "note" }, [told.version, told.params].filter(Boolean).join("; ")));
  };

  const headline = (cell) => {
    if (cell.reason !== undefined) return el("p", { class: "big" }, el("b", {}, "–"), `not applicable: ${text(cell.reason)}`);
    if (!cell.m.auc) return el("p", { class: "big" }, el("b", {}, "no AUC"), "nothing could be compared");
    const parts = [`95 % interval ${between(cell.m.auc)}`, `${cell.n[0]} stolen / ${cell.n[1]} irrelevant models`];
    if (cell.sources) parts.push(`${cell.sources[0]} sources, ${two(cell.sources[1])} to ${two(cell.sources[2])}`);
    if (cell.conditional) parts.push(`the interval holds for ${cell.sources ? "these sources" : "this source"} only`);
    return el("p", { class: "big" }, el("b", {}, `AUC ${two(cell.m.auc[0])}`), parts.join(" · "));
  };

  const draw = (button) => {
    const cell = cellOf(button);
    const [dataset, source, method, attack, on] = cell.at.map(text);
    const where = `${dataset}, source ${source}${cell.elsewhere ? `; suspects and negatives of ${on}` : ""}`;
    byId("cell-title").replaceChildren(`${method} against ${attack}`, el("small", {}, where));
    const place = Number(button.closest("section").dataset.place);
    const pictures = cell.spread ? [
      el("figure", {}, el("figcaption", {}, "Scores"), ...spreadOf(cell.spread), inWords(cell.spread)),
      el("figure", { class: "narrow" }, el("figcaption", {}, "ROC"), ...rocOf(cell.spread)),
    ] : [];
    byId("cell-body").replaceChildren(headline(cell), el("div", { class: "views" },
      el("div", {}, pictures[0], ...judged(cell), ...measured(cell), ...missing(cell)),
      el("div", {}, pictures[1], about("method", method, data.costs[place][method]), about("attack", attack))));
    const order = inOrder();
    byId("before").disabled = order.indexOf(button) <= 0;
    byId("after").disabled = order.indexOf(button) === order.length - 1;
    open = button;
    history.replaceState(null, "", `#cell/${[dataset, source, method, attack].map(encodeURIComponent).join("/")}`);
  };
  const reveal = (button) => {
    draw(button);
    if (!dialog.open) dialog.showModal();
    dialog.scrollTop = 0;
  };
  const move = (by) => {
    const order = inOrder();
    const to = order[order.indexOf(open) + by];
    if (to) {
      rove(to);
      draw(to);
    }
  };

  const follow = () => {
    let wanted;
    try {
      wanted = location.hash.startsWith("#cell/") ? location.hash.slice(6).split("/").map(decodeURIComponent) : null;
    } catch {
      wanted = null; // not one of ours
    }
    const button = wanted && buttons.find((b) => wanted.every((name, n) => text(cellOf(b).at[n]) === name));
    if (button) reveal(button);
  };

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-cell]");
    if (button) {
      rove(button);
      reveal(button);
    } else if (event.target === dialog) dialog.close();
  });
  document.addEventListener("keydown", (event) => {
    if (!dialog.open) walk(event);
    else if (event.key === "ArrowRight") move(1);
    else if (event.key === "ArrowLeft") move(-1);
  });
  dialog.addEventListener("close", () => {
    history.replaceState(null, "", location.pathname + location.search);
    open?.focus();
  });
  byId("close").addEventListener("click", () => dialog.close());
  byId("before").addEventListener("click", () => move(-1));
  byId("after").addEventListener("click", () => move(1));

  // --- controls -----------------------------------------------------------------------------------------------------

  const form = document.querySelector("form.controls");
  form.hidden = false;
  form.addEventListener("submit", (event) => event.preventDefault());
  for (const [key, name] of Object.entries(data.measures)) byId("measure").append(el("option", { value: key }, name));
  byId("find").addEventListener("input", find);
  byId("baselines").addEventListener("change", find);
  byId("point").addEventListener("change", point);
  byId("measure").addEventListener("change", () => {
    measure = byId("measure").value;
    buttons.forEach(show);
    all("table.auc").forEach((table) => table.classList.toggle("other", measure !== "auc"));
    tables.forEach(arrange);
    point();
  });
  addEventListener("hashchange", follow);
  addEventListener("beforeprint", () => all("details").forEach((details) => { details.open = true; }));
  find();
  follow();
})();
