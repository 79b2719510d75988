"use strict";
// Boxes, arrows and labels of triplets over a picture. Colours of Okabe and Ito; subjects have solid boxes, objects dashed ones.
const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00"];

function shape(parent, tag, attributes, text) {
  const node = parent.appendChild(document.createElementNS("http://www.w3.org/2000/svg", tag));
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text !== undefined) node.textContent = text;
  return node;
}

const ordered = ([x1, y1, x2, y2]) => [Math.min(x1, x2), Math.min(y1, y2), Math.max(x1, x2), Math.max(y1, y2)];
const middle = ([x1, y1, x2, y2]) => [(x1 + x2) / 2, (y1 + y2) / 2];
const touch = (a, b) => a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3];

function drawBox(layer, [x1, y1, x2, y2], colour, dashed) {
  const box = {x: x1, y: y1, width: x2 - x1, height: y2 - y1, fill: "none"};
  shape(layer, "rect", {...box, stroke: "#fff", "stroke-width": 4.5, "stroke-opacity": 0.8});
  shape(layer, "rect", {...box, stroke: colour, "stroke-width": 2.5, ...(dashed ? {"stroke-dasharray": "9 5"} : {})});
}

function drawArrow(layer, from, to, colour) {
  const [dx, dy] = [to[0] - from[0], to[1] - from[1]], length = Math.hypot(dx, dy);
  shape(layer, "circle", {cx: from[0], cy: from[1], r: 4, fill: colour, stroke: "#fff", "stroke-width": 1.2});
  if (length < 2) return;
  const [ux, uy] = [dx / length, dy / length], size = Math.min(14, length / 2);
  const back = [to[0] - ux * size, to[1] - uy * size];
  const head = [to, [back[0] - uy * size / 2, back[1] + ux * size / 2], [back[0] + uy * size / 2, back[1] - ux * size / 2]];
  const ends = {x1: from[0], y1: from[1], x2: back[0], y2: back[1]};
  shape(layer, "line", {...ends, stroke: "#fff", "stroke-width": 5, "stroke-opacity": 0.8});
  shape(layer, "line", {...ends, stroke: colour, "stroke-width": 2.6});
  shape(layer, "polygon", {points: head.join(" "), fill: colour, stroke: "#fff", "stroke-width": 1.2});
}

// The free place for a label nearest to `at`, on a spiral around it and inside the frame; better one that hides no box end.
function freePlace(at, [width, height], frame, taken) {
  for (let step = 0; step < 900; step++) {
    const radius = 5 * Math.sqrt(step), angle = 2.4 * step;  // 2.4: the golden angle
    const x = Math.max(frame[0], Math.min(at[0] - width / 2 + 1.6 * radius * Math.cos(angle), frame[2] - width));
    const y = Math.max(frame[1], Math.min(at[1] - height / 2 + radius * Math.sin(angle), frame[3] - height));
    const place = [x, y, x + width, y + height];
    if (!taken.some((other) => touch(place, other))) return place;
  }
  return null;
}

// Draws pairs, each {subject, object or null, lines, colour}, boxes in pixels of the layer; returns how many labels found no place.
function drawPairs(layer, pairs, frame) {
  layer.replaceChildren();
  for (const {subject, object, colour} of pairs) {
    if (object) drawBox(layer, object, colour, true);
    drawBox(layer, subject, colour, false);
  }
  for (const {subject, object, colour} of pairs) if (object) drawArrow(layer, middle(subject), middle(object), colour);
  const taken = [], size = 14, step = 19;
  let missing = 0;
  for (const {subject, object, lines, colour} of pairs) {
    const at = object ? middle([...middle(subject), ...middle(object)]) : middle(subject);
    const text = shape(layer, "text", {"font-size": size, fill: "#17191b"});
    for (const [k, line] of lines.entries()) shape(text, "tspan", {x: 0, y: k * step}, line);
    const width = Math.max(...[...text.children].map((line) => line.getComputedTextLength())) + 14;
    const place = freePlace(at, [width, lines.length * step + 6], frame, taken);
    if (!place) {
      text.remove();
      missing += 1;
      continue;
    }
    taken.push(place);
    const [x, y, right, bottom] = place, inside = at[0] >= x && at[0] <= right && at[1] >= y && at[1] <= bottom;
    if (!inside) layer.insertBefore(shape(layer, "line", {x1: at[0], y1: at[1], x2: (x + right) / 2, y2: (y + bottom) / 2, stroke: colour, "stroke-width": 1.5}), text);
    const back = shape(layer, "rect", {x, y, width: right - x, height: bottom - y, rx: 5, fill: "#fff", "fill-opacity": 0.93, stroke: colour, "stroke-width": 2});
    layer.insertBefore(back, text);
    [...text.children].forEach((line, k) => {
      line.setAttribute("x", x + 7);
      line.setAttribute("y", y + 17 + k * step);
    });
  }
  return missing;
}
