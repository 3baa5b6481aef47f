// The chart of a cell's ROC.

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
