// Which rows and columns are shown, which cells are highlighted, and the arrow keys.

const methods = all("table.auc tbody tr").map((row) => row.dataset.method.toLowerCase());
const attacks = tables.flatMap((t) => t.attacks).map((attack) => attack.toLowerCase());

const filter = () => {
  const terms = byId("find").value.toLowerCase().split(/[\s,]+/).filter(Boolean);
  const matching = (names) => terms.filter((term) => names.some((name) => name.includes(term)));
  const [methodTerms, attackTerms] = [matching(methods), matching(attacks)];
  const unknown = terms.some((term) => !methodTerms.includes(term) && !attackTerms.includes(term));
  const matches = (name, wanted) => !wanted.length || wanted.some((term) => name.toLowerCase().includes(term));
  let [rows, columns] = [0, 0];
  for (const t of tables) {
    const shown = t.attacks.map((attack) => matches(attack, attackTerms));
    let visibleRows = 0;
    for (const { body, rows: bodyRows } of t.bodies) {
      const baselines = body.classList.contains("baselines");
      for (const row of bodyRows) {
        row.hidden = unknown || (baselines && !byId("baselines").checked) || !matches(row.dataset.method, methodTerms);
        visibleRows += !row.hidden;
        shown.forEach((visible, n) => { row.cells[n + 1].hidden = !visible; });
      }
    }
    shown.forEach((visible, n) => { t.heads[n + 1].hidden = !visible; });
    t.section.querySelector(".empty").hidden = visibleRows > 0;
    rows += visibleRows;
    columns = Math.max(columns, shown.filter(Boolean).length);
  }
  byId("count").textContent = `${rows} ${rows === 1 ? "row" : "rows"} × ${columns} ${columns === 1 ? "attack" : "attacks"}`;
  setTabStop();
};

const highlights = {
  beaten: (cell) => cell.baselines?.[0] === 1,
  under: (cell) => cell.m.auc?.[0] < 0.9,
  incomplete: (cell) => cell.status === "incomplete",
  paper: (cell) => Boolean(cell.paper),
};
const highlight = () => {
  const wanted = highlights[byId("point").value];
  for (const button of buttons) button.parentElement.classList.toggle("dim", Boolean(wanted) && !wanted(cellOf(button)));
};

const isVisible = (button) => !button.parentElement.hidden && !button.closest("tr").hidden;
const visibleButtons = () => all("button[data-cell]").filter(isVisible);

// One cell of each table can be reached by Tab; arrow keys move from there.
const setTabStop = (target) => {
  for (const { table } of target ? tables.filter((t) => t.table.contains(target)) : tables) {
    const own = all("button[data-cell]", table);
    const stop = target || own.find((b) => b.tabIndex === 0 && isVisible(b)) || own.find(isVisible);
    own.forEach((b) => { b.tabIndex = b === stop ? 0 : -1; });
  }
};
const onArrowKey = (event) => {
  const from = event.target.closest?.("button[data-cell]");
  if (!from) return;
  const rows = all("tbody tr", from.closest("table")).filter((row) => !row.hidden);
  const grid = rows.map((row) => all("button[data-cell]", row).filter(isVisible));
  const row = grid.find((buttonsOfRow) => buttonsOfRow.includes(from));
  const [x, y] = [row.indexOf(from), grid.indexOf(row)];
  const targets = { ArrowRight: row[x + 1], ArrowLeft: row[x - 1], ArrowDown: grid[y + 1]?.[x], ArrowUp: grid[y - 1]?.[x],
    Home: row[0], End: row.at(-1) };
  if (!(event.key in targets)) return;
  event.preventDefault();
  const target = targets[event.key];
  if (target) {
    setTabStop(target);
    target.focus();
  }
};
