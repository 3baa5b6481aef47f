// Connect the controls above the tables, and start.

const form = document.querySelector("form.controls");
form.hidden = false;
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
