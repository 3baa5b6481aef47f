// The charts of a cell: its scores, and its ROC.

const ticks = (low, high, count) => {
  const rough = (high - low) / count || Math.abs(high) || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((f) => f * power).find((s) => s >= rough);
  const first = Math.ceil(low / step - 1e-9);
  const found = Array.from({ length: 2 * count }, (_, n) => (first + n) * step).filter((tick) => tick <= high + 1e-9 * step);
  return [...new Set(found.map((tick) => Number(tick.toPrecision(12))))]; // of huge numbers, n + 1 may be n
};
const axis = (svg, low, high, x, y, left, right) => {
  svg.append(shape("path", { class: "axis", d: `M${left} ${y}H${right}` }));
  for (const tick of ticks(low, high, 5)) {
    svg.append(shape("path", { class: "axis", d: `M${x(tick)} ${y}v4` }), label(x(tick), y + 17, String(tick).replace("-", "−")));
  }
  svg.append(label((left + right) / 2, y + 33, "score (higher: more probably stolen)"));
};

// Each model a dot; equal scores are stacked.
const stacks = (scores, x) => {
  const columns = new Map();
  for (const [score, model] of scores) {
    const at = Math.round(x(score) / 7);
    columns.set(at, [...(columns.get(at) || []), [score, model]]);
  }
  return columns;
};
const tallestStack = (scores, x) => Math.max(...[...stacks(scores, x).values()].map((column) => column.length));
const drawDots = (svg, scores, kind, x, base, laneHeight) => {
  const columns = stacks(scores, x);
  const highest = Math.max(...[...columns.values()].map((c) => c.length));
  const step = Math.min(7.5, (laneHeight - 6) / highest);
  for (const column of columns.values()) {
    column.forEach(([score, model], n) => {
      const dot = { class: "dot", cx: x(score), cy: base - 5 - n * step, r: 4, fill: `var(--${kind})` };
      svg.append(shape("circle", dot, shape("title", {}, `${kind}: ${data.models[model]}, score ${score}`)));
    });
  }
};

const drawBars = (svg, counts, kind, low, width, x, base, laneHeight) => {
  const most = Math.max(...counts, 1);
  counts.forEach((count, n) => {
    const [from, to] = [x(low + n * width), x(low + (n + 1) * width)];
    const height = (laneHeight - 6) * (count / most);
    const bar = { x: from + 0.5, y: base - height, width: Math.max(1, to - from - 1), height, fill: `var(--${kind})` };
    const range = `${(low + n * width).toPrecision(3)} to ${(low + (n + 1) * width).toPrecision(3)}`;
    if (count) svg.append(shape("rect", bar, shape("title", {}, `${count} ${kind}, score ${range}`)));
  });
};

const scoreChart = (spread) => {
  const lines = (spread.dots || spread.bins).map(([stolen, irrelevant]) =>
    spread.dots ? [pairs(stolen), pairs(data.irrelevant[irrelevant])] : [stolen, irrelevant]);
  let [low, high] = [spread.from, spread.to];
  if (spread.dots) {
    const scores = lines.flat(2).map(([score]) => score);
    [low, high] = [Math.min(...scores), Math.max(...scores)];
  }
  if (high - low <= 1e-12 * Math.max(Math.abs(low), Math.abs(high))) {
    const room = Math.abs(high) / 2 || 0.5;
    [low, high] = [low - room, high + room];
  }
  const [left, right] = [74, 448];
  const x = (value) => left + 8 + ((value - low) / (high - low)) * (right - left - 16);
  const highest = spread.dots ? Math.max(...lines.flat().map((scores) => tallestStack(scores, x))) : 6;
  const laneHeight = Math.min(lines.length > 2 ? 34 : 58, 16 + 7.5 * highest);
  const sourceHeight = 2 * laneHeight + (lines.length > 1 ? 24 : 6);
  const [top, bottom] = [4, 4 + sourceHeight * lines.length];
  const svg = shape("svg", { viewBox: `0 0 460 ${bottom + 40}`, width: 460, height: bottom + 40, role: "img",
    "aria-label": "Scores of stolen and irrelevant models" });
  lines.forEach(([stolen, irrelevant], n) => {
    const start = top + n * sourceHeight + (lines.length > 1 ? 14 : 0);
    if (lines.length > 1) svg.append(label(left, start - 3, `source with seed ${spread.seeds[n]}`, "start"));
    [[stolen, "stolen"], [irrelevant, "irrelevant"]].forEach(([of, kind], k) => {
      const base = start + (k + 1) * laneHeight;
      svg.append(shape("path", { class: "axis", d: `M${left} ${base}H${right}` }), label(left - 8, base - 6, kind, "end", kind));
      if (spread.dots) drawDots(svg, of, kind, x, base, laneHeight);
      else drawBars(svg, of, kind, low, (high - low) / of.length, x, base, laneHeight);
    });
  });
  axis(svg, low, high, x, bottom, left, right);
  const more = spread.seeds.length - lines.length;
  return [svg, more > 0 ? el("p", { class: "note" }, `And ${more} more sources, which are not shown.`) : null,
    spread.draws ? el("p", { class: "note" }, `Scores of the first of ${spread.draws} fingerprints; ROC and AUC are the mean of all.`) : null];
};

const threeDigits = (value) => String(Number(value.toPrecision(3))).replace("-", "−");
const median = (values) => {
  const sorted = [...values].sort((a, b) => a - b);
  return (sorted[Math.ceil(sorted.length / 2) - 1] + sorted[Math.floor(sorted.length / 2)]) / 2;
};
const scoreSummary = (spread) => {
  if (!spread.dots || spread.dots.length > 1) return null;
  const [stolen, irrelevant] = [spread.dots[0][0], data.irrelevant[spread.dots[0][1]]].map((n) => pairs(n).map(([s]) => s));
  const summary = (values) => [`${threeDigits(Math.min(...values))} to ${threeDigits(Math.max(...values))}`, `median ${threeDigits(median(values))}`].join(", ");
  return el("p", { class: "note" }, `Stolen: ${summary(stolen)}. Irrelevant: ${summary(irrelevant)}. Point at a dot to see which model it is.`);
};

const rocChart = (spread) => {
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
