// The dialog that shows one cell; at the end, the controls above the tables are connected.

const dialog = byId("cell");
let opened = null;

const otherMeasures = (cell) => Object.entries(data.measures).filter(([key]) => key !== "auc" && cell.m[key] !== undefined)
  .map(([key, { title, digits }]) => {
    const value = cell.m[key];
    const reported = Array.isArray(value);
    const shown = reported ? `${rounded(value[0], digits)} ${between(value)}` : `n/r (needs ≥ ${value} irrelevant models of each source)`;
    return el("p", {}, `${title}: ${shown}`);
  });

const comparisons = (cell) => {
  const found = [];
  if (cell.baselines) {
    const [beaten, baseline, difference, p, adjusted, tests] = cell.baselines;
    const comparison = `AUC ${difference >= 0 ? "+" : "−"}${two(Math.abs(difference))} against ${text(baseline)}, the hardest baseline`;
    const verdict = beaten ? "† Beats every baseline. " : "Not shown to beat every baseline. ";
    found.push(el("p", {}, el("b", {}, p === null ? "Not tested: too few sources. " : verdict),
      p === null ? `${comparison}.` : `${comparison}; p = ${p}, ${adjusted} for all ${tests} tests of the table together.`));
  }
  if (cell.paper) {
    const [auc, stolen, irrelevant, same] = cell.paper;
    const models = stolen && irrelevant ? ` (${stolen} stolen / ${irrelevant} irrelevant)` : "";
    const verdict = text(cell.verdict).replace(" (other networks)", "");
    found.push(el("p", {}, `The paper has ${two(auc)}${models}, ${same ? "on the same networks" : "on other networks"}: ${verdict}.`));
  }
  return found;
};

// What makes an AUC doubtful: networks that did not learn, ties, models that count once.
const doubts = (cell) => [
  ...(cell.unlearned || []).map((name) => el("p", {}, el("b", {}, "‡ Did not learn: "), text(name))),
  cell.tied ? el("p", {}, el("b", {}, "§ Mostly ties: "), "more than half of the scores are one value, the lowest or the highest") : null,
  cell.equal ? el("p", {}, `Stolen suspects left out, whose weights another one has: ${cell.equal}.`) : null,
];

const missingScores = (cell) => {
  const lost = Object.entries(cell.lost || {}).map(([status, n]) => `${n} ${status.replace("_", " ")}`).join(", ");
  const planned = `${cell.planned[0]} stolen and ${cell.planned[1]} irrelevant models were planned`;
  return [lost ? el("p", {}, `Without a score: ${lost}; ${planned}.`) : null,
    ...(cell.messages || []).map(([error, n]) => el("p", {}, el("code", {}, text(error)), n > 1 ? ` (${n} trials)` : ""))];
};

const describeComponent = (kind, name, more) => {
  const entry = data.about[kind][name];
  return el("div", {}, el("h3", {}, name), el("p", {}, entry.summary), entry.paper ? el("p", {}, el("i", {}, entry.paper)) : null,
    more ? el("p", {}, more) : null, el("p", { class: "note" }, [entry.version, entry.params].filter(Boolean).join("; ")));
};

const headline = (cell) => {
  if (cell.reason !== undefined) return el("p", { class: "big" }, el("b", {}, "–"), `not applicable: ${text(cell.reason)}`);
  if (cell.status === "not_trained") return el("p", { class: "big" }, el("b", {}, "not trained"), "no stolen suspect is better than chance");
  if (!cell.m.auc) return el("p", { class: "big" }, el("b", {}, "no AUC"), "nothing could be compared");
  const parts = [`${data.level} interval ${between(cell.m.auc)}`, `${cell.n[0]} stolen / ${cell.n[1]} irrelevant models`];
  if (cell.sources) parts.push(`${cell.sources[0]} sources, ${two(cell.sources[1])} to ${two(cell.sources[2])}`);
  if (cell.conditional) parts.push("the interval holds for this source only");
  return el("p", { class: "big" }, el("b", {}, `AUC ${two(cell.m.auc[0])}`), parts.join(" · "));
};

const render = (button) => {
  const cell = cellOf(button);
  const [dataset, source, method, attack, on] = cell.at.map(text);
  const where = `${dataset}, source ${source}${cell.elsewhere ? `; suspects and negatives of ${on}` : ""}`;
  byId("cell-title").replaceChildren(`${method} against ${attack}`, el("small", {}, where));
  const section = Number(button.closest("section").dataset.section);
  const pictures = cell.spread ? [
    el("figure", {}, el("figcaption", {}, "Scores"), ...scoreChart(cell.spread), scoreSummary(cell.spread)),
    el("figure", { class: "narrow" }, el("figcaption", {}, "ROC"), ...rocChart(cell.spread)),
  ] : [];
  byId("cell-body").replaceChildren(headline(cell), el("div", { class: "views" },
    el("div", {}, pictures[0], ...comparisons(cell), ...doubts(cell), ...otherMeasures(cell), ...missingScores(cell)),
    el("div", {}, pictures[1], describeComponent("method", method, data.costs[section][method]), describeComponent("attack", attack))));
  const order = visibleButtons();
  byId("before").disabled = order.indexOf(button) <= 0;
  byId("after").disabled = order.indexOf(button) === order.length - 1;
  opened = button;
  history.replaceState(null, "", `#cell/${[dataset, source, method, attack].map(encodeURIComponent).join("/")}`);
};
const openCell = (button) => {
  render(button);
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
};
const moveBy = (by) => {
  const order = visibleButtons();
  const to = order[order.indexOf(opened) + by];
  if (to) {
    setTabStop(to);
    render(to);
  }
};

const openFromAddress = () => {
  let wanted;
  try {
    wanted = location.hash.startsWith("#cell/") ? location.hash.slice(6).split("/").map(decodeURIComponent) : null;
  } catch {
    wanted = null; // not an address of a cell
  }
  const button = wanted && buttons.find((b) => wanted.every((name, n) => text(cellOf(b).at[n]) === name));
  if (button) openCell(button);
};

document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-cell]");
  if (button) {
    setTabStop(button);
    openCell(button);
  } else if (event.target === dialog) dialog.close();
});
document.addEventListener("keydown", (event) => {
  if (!dialog.open) onArrowKey(event);
  else if (event.key === "ArrowRight") moveBy(1);
  else if (event.key === "ArrowLeft") moveBy(-1);
});
dialog.addEventListener("close", () => {
  history.replaceState(null, "", location.pathname + location.search);
  opened?.focus();
});
byId("close").addEventListener("click", () => dialog.close());
byId("before").addEventListener("click", () => moveBy(-1));
byId("after").addEventListener("click", () => moveBy(1));

const form = document.querySelector("form.controls");
form.hidden = !tables.length; // of described suspects alone there are none
form.addEventListener("submit", (event) => event.preventDefault());
for (const [key, { title }] of Object.entries(data.measures)) byId("measure").append(el("option", { value: key }, title));
byId("find").addEventListener("input", filter);
byId("baselines").addEventListener("change", filter);
byId("point").addEventListener("change", highlight);
byId("measure").addEventListener("change", () => {
  measure = byId("measure").value;
  buttons.forEach(showMeasure);
  all("table.auc").forEach((table) => table.classList.toggle("other", measure !== "auc"));
  tables.forEach(reorder);
  highlight();
});
addEventListener("hashchange", openFromAddress);
addEventListener("beforeprint", () => all("details").forEach((details) => { details.open = true; }));
filter();
openFromAddress();
