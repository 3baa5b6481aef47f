// Make elements, and read the data of the page.

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
const label = (x, y, words, anchor, kind) => shape("text", { x, y, "text-anchor": anchor || "middle", class: kind || "tick" }, words);

const pairs = (numbers) => {
  const found = [];
  for (let n = 0; n < numbers.length; n += 2) found.push([numbers[n], numbers[n + 1]]);
  return found;
};
