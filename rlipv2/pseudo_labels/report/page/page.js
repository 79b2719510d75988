"use strict";
// Draws boxes and arrows over the pictures, and hides what the filter leaves out.
const data = JSON.parse(document.getElementById("data").textContent);
const colours = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00"];
const slider = document.getElementById("threshold"), chosen = document.getElementById("relation");
const mostPairs = 10;
const marks = {right: "✓", wrong: "✗", implied: "·"};

function svg(parent, tag, attributes, text) {
  const node = parent.appendChild(document.createElementNS("http://www.w3.org/2000/svg", tag));
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text !== undefined) node.textContent = text;
  return node;
}

function html(parent, tag, name, text) {
  const node = parent.appendChild(document.createElement(tag));
  if (name) node.className = name;
  if (text !== undefined) node.textContent = text;
  return node;
}

// Relations of a card that the filter lets through; single relations always.
function visible(card) {
  const least = Number(slider.value), name = chosen.value;
  return card.relations.filter(([, , text, score]) => card.single || (score >= least && (!name || text === name)));
}

function box(layer, [x1, y1, x2, y2], colour, line, dashed) {
  const shape = {x: x1, y: y1, width: x2 - x1, height: y2 - y1, fill: "none", "stroke-width": line};
  svg(layer, "rect", {...shape, stroke: "#fff", "stroke-width": line * 2, "stroke-opacity": 0.75});
  svg(layer, "rect", {...shape, stroke: colour, ...(dashed ? {"stroke-dasharray": `${4 * line} ${2 * line}`} : {})});
}

function arrow(layer, from, to, colour, line, strength) {
  const [dx, dy] = [to[0] - from[0], to[1] - from[1]], length = Math.hypot(dx, dy);
  if (length < 1) return;
  const [ux, uy] = [dx / length, dy / length], size = Math.min(6 * line, length / 2);
  const back = [to[0] - ux * size, to[1] - uy * size];
  const head = [to, [back[0] - uy * size / 2, back[1] + ux * size / 2], [back[0] + uy * size / 2, back[1] - ux * size / 2]];
  const ends = {x1: from[0], y1: from[1], x2: back[0], y2: back[1]};
  svg(layer, "line", {...ends, stroke: "#fff", "stroke-width": line * 2.2, "stroke-opacity": 0.75});
  svg(layer, "line", {...ends, stroke: colour, "stroke-width": line * (0.6 + strength), "stroke-opacity": 0.45 + 0.55 * strength});
  svg(layer, "polygon", {points: head.join(" "), fill: colour, stroke: "#fff", "stroke-width": line / 3});
  svg(layer, "circle", {cx: from[0], cy: from[1], r: 1.6 * line, fill: colour, stroke: "#fff", "stroke-width": line / 3});
}

// The surest pairs; the surest relation of each stands at its arrow, with the number of others. Labels make room for
// each other.
function draw(layer, card, relations) {
  layer.replaceChildren();
  const [width, height] = card.size, unit = Math.max(width, 1.25 * height) / 100, font = 3.4 * unit;
  const pairs = new Map(), taken = [];
  for (const relation of relations) {
    const key = `${relation[0]} ${relation[1]}`;
    pairs.set(key, [...(pairs.get(key) ?? []), relation]);
  }
  const middle = ([x1, y1, x2, y2]) => [(x1 + x2) / 2, (y1 + y2) / 2];
  const rows = [...pairs.values()].slice(0, mostPairs).map(([first, ...others], k) => ({
    colour: colours[k % colours.length], subject: card.boxes[first[0]], object: card.boxes[first[1]], score: first[3],
    text: `${first[2]} ${first[3].toFixed(2)}${others.length ? ` +${others.length}` : ""}`,
  }));
  if (!rows.length) card.boxes.forEach((corners) => box(layer, corners, "#8a9299", 0.4 * unit, false));
  for (const row of rows) {
    box(layer, row.object, row.colour, 0.5 * unit, true);
    box(layer, row.subject, row.colour, 0.5 * unit, false);
  }
  for (const row of rows) arrow(layer, middle(row.subject), middle(row.object), row.colour, 0.7 * unit, row.score);
  for (const row of rows) {
    const w = row.text.length * font * 0.57 + unit, h = 1.4 * font;
    const [mx, my] = middle([...middle(row.subject), ...middle(row.object)]);
    let x, y, step = 0;
    do {  // on a spiral around the middle of the arrow
      const radius = 0.5 * font * Math.sqrt(step), angle = 2.4 * step;
      x = Math.max(0, Math.min(mx - w / 2 + 1.6 * radius * Math.cos(angle), width - w));
      y = Math.max(0, Math.min(my - h / 2 + radius * Math.sin(angle), height - h));
    } while (taken.some(([a, b, c, d]) => x < c && a < x + w && y < d && b < y + h) && ++step < 400);
    if (step === 400) continue;  // no room left: the list below has it
    taken.push([x, y, x + w, y + h]);
    svg(layer, "rect", {x, y, width: w, height: h, rx: 0.7 * unit, fill: "#fff", "fill-opacity": 0.9, stroke: row.colour, "stroke-width": 0.3 * unit});
    svg(layer, "text", {x: x + 0.5 * unit, y: y + 1.05 * font, "font-size": font, fill: "#1b1f23"}, row.text);
  }
}

function list(place, card, relations) {
  place.replaceChildren();
  for (const [subject, object, text, score, verdict] of relations) {
    const item = html(place, "li");
    html(item, "b", "", score.toFixed(2));
    html(item, "span", "", `${card.names[subject]} ${text} ${card.names[object]}`);
    if (verdict) html(item, "span", verdict, marks[verdict]).title = verdict;
  }
}

function captions(place, card) {
  if (!card.captions.length) return;
  const details = html(place, "details");
  html(details, "summary", "", `${card.captions.length} captions`);
  for (const caption of card.captions) {
    html(details, "div", "caption", caption.text || "(empty)");
    for (const {words, classes} of caption.triplets) {
      const named = classes.every((name) => name);
      const shown = words.map((word, k) => (k === 1 || !classes[k / 2] || classes[k / 2] === word ? word : `${word} (${classes[k / 2]})`));
      html(details, "div", named ? "triplet matched" : "triplet", shown.join(" → "));
    }
  }
}

const cards = [];
for (const node of document.querySelectorAll(".card")) {
  const card = data[node.dataset.group][Number(node.dataset.number)];
  captions(node.querySelector(".what"), card);
  cards.push({node, card, group: node.dataset.group, layer: node.querySelector("svg"), list: node.querySelector("ol")});
}

function update() {
  document.getElementById("threshold-value").textContent = Number(slider.value).toFixed(2);
  let relations = 0, images = 0;
  for (const {node, card, group, layer, list: place} of cards) {
    const shown = visible(card);
    draw(layer, card, shown);
    list(place, card, shown);
    if (group !== "sample") continue;
    node.hidden = Boolean(chosen.value) && !shown.length;
    relations += shown.length;
    images += shown.length > 0;
  }
  document.getElementById("shown").textContent = `${relations} relations in ${images} of ${data.sample.length} images`;
}

const frequency = new Map();
for (const card of data.sample) for (const [, , text] of card.relations) frequency.set(text, (frequency.get(text) ?? 0) + 1);
for (const [text, number] of [...frequency].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1))) {
  chosen.add(new Option(`${text} (${number})`, text));
}
slider.addEventListener("input", update);
chosen.addEventListener("change", update);
document.getElementById("filter").addEventListener("submit", (event) => event.preventDefault());
update();
