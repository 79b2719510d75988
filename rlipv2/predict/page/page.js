// The grid of thumbnails, its filters, and the viewer of one image. Details of images come in scripts of a hundred images each.
const data = JSON.parse(document.getElementById("data").textContent);
const element = (id) => document.getElementById(id);
const PAGE = 60, MOST_PAIRS = 8, MOST_LINES = 3;
const state = {least: data.start, subject: -1, relation: -1, object: -1, search: "", order: "name"};
let matching = [], rendered = [], current = -1, chosen = -1, triplets = [], showing = 0, ready = false;

function node(parent, tag, name, text) {
  const made = parent.appendChild(document.createElement(tag));
  if (name) made.className = name;
  if (text !== undefined) made.textContent = text;
  return made;
}

const words = ([subject, relation, object]) => [subject, relation, object].map((row) => data.words[row]);
const fits = ([subject, relation, object]) =>
  (state.subject < 0 || subject === state.subject) && (state.relation < 0 || relation === state.relation) && (state.object < 0 || object === state.object);
const filtered = () => state.subject >= 0 || state.relation >= 0 || state.object >= 0;
const found = (card) => card.named.filter((named) => named[3] >= state.least && fits(named));

// ---------------------------------------------------------------- grid

function fill(select, end) {
  const images = new Map();
  for (const card of data.cards) for (const row of new Set(card.named.map((named) => named[end]))) images.set(row, (images.get(row) ?? 0) + 1);
  const names = [...images].sort((a, b) => b[1] - a[1] || (data.words[a[0]] < data.words[b[0]] ? -1 : 1));
  select.add(new Option("any", "-1"));
  for (const [row, number] of names) select.add(new Option(`${data.words[row]} (${number})`, String(row)));
  select.parentElement.hidden = names.length < 2;
}

function caption(tile, card) {
  const place = tile.querySelector(".what"), some = found(card);
  place.replaceChildren();
  node(place, "div", "name", card.name).title = card.name;
  for (const named of some.slice(0, MOST_LINES)) {
    const line = node(place, "div", "found");
    node(line, "b", "", named[3].toFixed(2));
    node(line, "span", "", words(named).join(" "));
  }
  if (!some.length) node(place, "div", "none", "nothing above this score");
  else if (some.length > MOST_LINES) node(place, "div", "name", `and ${some.length - MOST_LINES} more`);
}

function tile(card, number) {
  const made = document.createElement("button");
  made.type = "button";
  made.className = "tile";
  const thumb = node(made, "div", "thumb");
  if (card.thumbnail) {
    const image = node(thumb, "img");
    image.loading = "lazy";
    image.decoding = "async";
    image.alt = `${card.name}: ${card.named.length ? words(card.named[0]).join(" ") : "no relation"}`;
    image.src = card.thumbnail;
  } else node(thumb, "span", "", "no picture");
  if (card.frames) node(thumb, "span", "badge", `▶ ${card.frames} frames`);
  node(made, "div", "what");
  caption(made, card);
  made.addEventListener("click", () => openViewer(number));
  return made;
}

// As many tiles as were there, or one page more; the rest comes when the end of the page comes into view.
function grow() {
  const upTo = Math.min(matching.length, rendered.length + PAGE), place = element("cards");
  for (let k = rendered.length; k < upTo; k++) {
    const made = tile(matching[k], k);
    rendered.push(made);
    place.append(made);
  }
}

function select() {
  const text = state.search.toLowerCase();
  matching = data.cards.filter((card) => (!text || card.name.toLowerCase().includes(text)) && (!filtered() || found(card).length));
  if (state.order === "score") {
    const best = new Map(matching.map((card) => [card, (card.named.find(fits) ?? [0, 0, 0, -1])[3]]));
    matching.sort((a, b) => best.get(b) - best.get(a));
  }
  const showing = matching.filter((card) => found(card).length).length;
  element("shown").textContent = `${showing} of ${data.cards.length} with relations${filtered() ? " that fit" : ""}`;
  element("least").value = state.least;
  element("least-value").textContent = state.least.toFixed(2);
}

function update() {
  const before = matching;
  select();
  if (before.length === matching.length && before.every((card, k) => card === matching[k])) {
    rendered.forEach((made, k) => caption(made, matching[k]));
    return;
  }
  rendered = [];
  element("cards").replaceChildren();
  grow();
  watcher.unobserve(element("more"));
  watcher.observe(element("more"));
}

let waiting = false;
function soon() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => {
    waiting = false;
    update();
  });
}

// Arrow keys go from tile to tile.
element("cards").addEventListener("keydown", (event) => {
  const at = rendered.indexOf(document.activeElement);
  if (at < 0) return;
  const columns = getComputedStyle(element("cards")).gridTemplateColumns.split(" ").length;
  const step = {ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns}[event.key];
  if (!step) return;
  event.preventDefault();
  if (at + step >= rendered.length) grow();
  rendered[Math.max(0, Math.min(at + step, rendered.length - 1))].focus();
});

// ---------------------------------------------------------------- details

const loaded = new Map(), arrived = new Map();
function details(number, content) {
  arrived.get(number)(content);
}

function load(number) {
  if (!loaded.has(number)) {
    loaded.set(number, new Promise((resolve, reject) => {
      arrived.set(number, resolve);
      const script = document.createElement("script");
      script.src = `gallery/details/${String(number).padStart(5, "0")}.js`;
      script.onerror = () => reject(new Error(`${script.src} is missing: copy the folder as a whole`));
      document.head.append(script);
    }));
  }
  return loaded.get(number);
}

// ---------------------------------------------------------------- viewer

const viewer = element("viewer"), picture = element("picture"), video = element("video"), overlay = element("overlay");

async function openViewer(number) {
  current = number;
  chosen = -1;
  triplets = [];
  ready = false;
  element("count").textContent = "";
  const card = matching[number], asked = ++showing;
  element("viewer-name").textContent = card.name;
  picture.alt = `${card.name}: ${card.named.slice(0, 3).map((named) => words(named).join(" ")).join(", ") || "no relation"}`;
  if (card.picture) picture.src = card.picture;
  else picture.removeAttribute("src");
  picture.hidden = Boolean(card.video);
  video.hidden = !card.video;
  if (card.video) video.src = card.video;
  else video.removeAttribute("src");
  facts(card);
  element("frame-line").hidden = !card.frames;
  element("viewer-least").value = state.least;
  overlay.replaceChildren();
  element("rows").replaceChildren();
  element("previous").disabled = number === 0;
  element("next").disabled = number === matching.length - 1;
  if (!viewer.open) {
    viewer.showModal();
    element("close").focus();  // Chromium would take the video, even while it is hidden
  }
  try {
    const content = (await load(card.at[0]))[card.at[1]];
    if (asked !== showing) return;  // another image was opened meanwhile
    if (card.frames) playFrames(card, content);
    else triplets = content;
    ready = true;
    show();
  } catch (error) {
    element("count").textContent = error.message;
  }
}

function facts(card) {
  const place = element("facts");
  place.replaceChildren(`${card.size[0]} × ${card.size[1]} pixels · ${current + 1} of ${matching.length} `);
  for (const [kind, text] of [["drawn", "drawn picture"], ["graph", "scene graph"], ["video", "drawn video"]]) {
    if (!card[kind]) continue;
    place.append(" · ");
    Object.assign(node(place, "a", "", text), {href: card[kind], target: "_blank"});
  }
}

// The list follows the frame that the slider, or the playing video, is at.
function playFrames(card, content) {
  const slider = element("frame");
  const choose = (row) => {
    triplets = content[row][1];
    slider.value = row;
    element("frame-value").textContent = `${content[row][0].toFixed(2)} s`;
  };
  slider.max = content.length - 1;
  slider.oninput = () => {
    choose(Number(slider.value));
    chosen = -1;
    if (card.video && video.duration) video.currentTime = (Number(slider.value) / content.length) * video.duration;
    show();
  };
  video.ontimeupdate = () => {
    if (!video.duration || video.paused) return;
    choose(Math.min(content.length - 1, Math.floor((video.currentTime / video.duration) * content.length)));
    show();
  };
  choose(0);
}

const kept = () => triplets.filter((row) => row[3] >= state.least);

// Triplets of equal boxes are one pair with several lines.
function pairs(rows) {
  const made = new Map();
  for (const row of rows) {
    const key = JSON.stringify([row[0], row[2], row[4], row[5]]);
    if (!made.has(key)) made.set(key, []);
    made.get(key).push(row);
  }
  return [...made.values()];
}

function show() {
  element("viewer-value").textContent = state.least.toFixed(2);
  if (!ready) return;  // the picture may be there before its details
  const card = matching[current], rows = kept(), groups = pairs(rows);
  const drawnGroups = chosen >= 0 && rows[chosen] ? [[rows[chosen]]] : groups.slice(0, MOST_PAIRS);
  const colour = new Map(groups.slice(0, MOST_PAIRS).flatMap((group, k) => group.map((row) => [row, COLOURS[k % COLOURS.length]])));
  const missing = card.video ? 0 : draw(card, drawnGroups, colour);
  const more = chosen < 0 && groups.length > MOST_PAIRS ? `; the picture shows the ${MOST_PAIRS} best pairs` : "";
  element("count").textContent = `${rows.length} of ${triplets.length} relations${more}${missing ? `; ${missing} labels found no place` : ""}`;
  list(rows, colour);
}

function draw(card, groups, colour) {
  const {width, height} = overlay.getBoundingClientRect(), [w, h] = card.size, zoom = Math.min(width / w, height / h);
  const [left, top] = [(width - w * zoom) / 2, (height - h * zoom) / 2];
  const onScreen = (box) => ordered(box.map((value, k) => value * zoom + (k % 2 ? top : left)));
  return drawPairs(overlay, groups.map((group) => ({
    subject: onScreen(group[0][4]),
    object: group[0][5] && group[0][5].some((value) => value) ? onScreen(group[0][5]) : null,
    lines: group.slice(0, MOST_LINES).map((row, k) => {
      const [, relation, object] = words(row), others = k === MOST_LINES - 1 ? group.length - MOST_LINES : 0;
      return `${relation} ${object} ${row[3].toFixed(2)}${others > 0 ? ` +${others}` : ""}`;
    }),
    colour: colour.get(group[0]) ?? COLOURS[0],
  })), [Math.max(0, left), Math.max(0, top), Math.min(width, left + w * zoom), Math.min(height, top + h * zoom)]);
}

function list(rows, colour) {
  const place = element("rows");
  place.replaceChildren();
  rows.forEach((row, k) => {
    const line = node(place, "tr"), score = node(line, "td");
    line.tabIndex = 0;
    line.setAttribute("aria-selected", String(k === chosen));
    node(score, "span", "swatch").style.background = colour.get(row) ?? "transparent";
    score.append(row[3].toFixed(2));
    for (const word of words(row)) node(line, "td", "", word);
    const pick = () => {
      chosen = chosen === k ? -1 : k;
      show();
      element("rows").children[k].focus({preventScroll: true});
    };
    line.addEventListener("click", pick);
    line.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      pick();
    });
  });
}

function turn(step) {
  const number = current + step;
  if (number < 0 || number >= matching.length) return;
  while (number >= rendered.length) grow();
  openViewer(number);
}

// On the document: a button that is switched off while it has the focus hands it to nobody.
document.addEventListener("keydown", (event) => {
  const step = {ArrowRight: 1, ArrowLeft: -1}[event.key];
  if (!viewer.open || !step || event.target.type === "range" || (event.target === video && !video.hidden)) return;
  event.preventDefault();
  turn(step);
});
viewer.addEventListener("close", () => {
  showing += 1;
  video.pause();
  update();
  const at = rendered[Math.min(current, rendered.length - 1)];
  if (at) at.focus();
});
element("previous").addEventListener("click", () => turn(-1));
element("next").addEventListener("click", () => turn(1));
element("close").addEventListener("click", () => viewer.close());
element("viewer-least").addEventListener("input", (event) => {
  state.least = Number(event.target.value);
  chosen = -1;
  show();
});
window.addEventListener("resize", () => viewer.open && show());
picture.addEventListener("load", () => viewer.open && show());

// ---------------------------------------------------------------- start

for (const [end, name] of ["subject", "relation", "object"].entries()) {
  fill(element(name), end);
  element(name).addEventListener("change", (event) => {
    state[name] = Number(event.target.value);
    update();
  });
}
element("least").addEventListener("input", (event) => {
  state.least = Number(event.target.value);
  soon();
});
element("order").addEventListener("change", (event) => {
  state.order = event.target.value;
  update();
});
element("search").addEventListener("input", (event) => {
  state.search = event.target.value;
  soon();
});
element("filter").addEventListener("submit", (event) => event.preventDefault());
select();
grow();
const watcher = new IntersectionObserver((entries) => {
  if (!entries.some((entry) => entry.isIntersecting) || rendered.length === matching.length) return;
  grow();
  watcher.unobserve(element("more"));  // it tells of changes only: the end may still be in view
  watcher.observe(element("more"));
}, {rootMargin: "1200px"});
watcher.observe(element("more"));
