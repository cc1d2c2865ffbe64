"use strict";
// The gallery, the tiles of a plot, and the marks of a reviewer. Pages work from a disk: their data are scripts.

const MARKS = "plantclef-review";
const PAGE_SIZE = 48;

const element = (name, properties = {}, ...children) => {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
};
const isolated = (text) => element("bdi", { textContent: text });
const speciesNames = () => new Map((window.SPECIES || []).map(([id, name]) => [id, name]));
const fillNames = () => {
  const list = document.getElementById("species-names");
  if (list) list.append(...(window.SPECIES || []).map(([, name]) => element("option", { value: name })));
};

function showGallery() {
  const { plots, best } = window.PLOTS;
  const names = speciesNames();
  const form = document.getElementById("filters");
  const gallery = document.getElementById("gallery");
  const more = document.getElementById("more");
  let found = [];
  let shown = 0;

  const wantedSpecies = (text) => {
    if (/^\d+$/.test(text)) return new Set([Number(text)]);
    const lower = text.toLowerCase();
    return new Set([...names].filter(([, name]) => name.toLowerCase().includes(lower)).map(([id]) => id));
  };
  const card = (plot) => {
    const species = plot.species.map((id) => names.get(id) || String(id)).join(", ") || "no species";
    const score = plot.score === null ? "" : `, F1 ${plot.score.toFixed(2)}`;
    const image = element("img", { src: `plots/${plot.page}-small.jpg`, alt: "", loading: "lazy" });
    const made = element("a", { className: "card", href: `plots/${plot.page}.html` }, image);
    made.append(element("span", { className: "name" }, isolated(plot.id)));
    made.append(element("span", { className: "sub", textContent: `${plot.species.length} species${score}: ${species}` }));
    if (plot.review.length) made.append(element("span", { className: "flag", textContent: plot.review.join(", ") }));
    return made;
  };
  const showMore = () => {
    gallery.append(...found.slice(shown, shown + PAGE_SIZE).map(card));
    shown = Math.min(found.length, shown + PAGE_SIZE);
    more.hidden = shown >= found.length;
  };
  const orders = {
    confidence: (a, b) => (a.confidence ?? -1) - (b.confidence ?? -1),
    score: (a, b) => (a.score ?? 2) - (b.score ?? 2),
    species: (a, b) => b.species.length - a.species.length,
  };
  const apply = () => {
    const wanted = Object.fromEntries([...new FormData(form)].filter(([, value]) => value !== ""));
    const species = wanted.species && wantedSpecies(wanted.species.trim());
    const place = (wanted.place || "").toLowerCase();
    found = plots.filter(
      (plot) =>
        (!species || plot.species.some((id) => species.has(id))) &&
        (!place || plot.id.toLowerCase().includes(place) || plot.place.toLowerCase().includes(place)) &&
        (!wanted.region || plot.region === wanted.region) &&
        (!wanted.from || plot.date >= wanted.from) &&
        (!wanted.to || (plot.date && plot.date <= wanted.to)) &&
        (!wanted.score || (plot.score !== null && plot.score <= Number(wanted.score))) &&
        (!wanted.source || plot.source === wanted.source) &&
        (!wanted.review || plot.review.length),
    );
    if (orders[wanted.order]) found.sort(orders[wanted.order]);
    gallery.replaceChildren();
    shown = 0;
    showMore();
    document.getElementById("count").textContent = `${found.length} of ${plots.length} plots, by ${best}`;
    history.replaceState(null, "", "#" + new URLSearchParams(wanted));
  };

  for (const [name, value] of new URLSearchParams(location.hash.slice(1))) {
    const field = form.elements[name];
    if (field && field.type === "checkbox") field.checked = true;
    else if (field) field.value = name === "species" && names.has(Number(value)) ? names.get(Number(value)) : value;
  }
  form.addEventListener("input", apply);
  form.addEventListener("submit", (event) => event.preventDefault());
  more.addEventListener("click", showMore);
  new IntersectionObserver((seen) => seen.some((one) => one.isIntersecting) && !more.hidden && showMore()).observe(more);
  fillNames();
  apply();
}

function showTiles(data) {
  const view = document.getElementById("view");
  const drawing = document.getElementById("tiles");
  const panel = document.getElementById("tile");
  const nameOf = (id) => (data.species[id] ? data.species[id].name : String(id));
  const svg = (name, attributes) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  };

  // Botanists abbreviate the genus: "A. montana" fits into a tile.
  const shortName = (id) => nameOf(id).replace(/^(\p{Lu})\p{Ll}+ (?=\p{Ll})/u, "$1. ");
  const crop = (x, y, width, height) => {
    const made = element("div", { className: "crop", role: "img", ariaLabel: "The tile, enlarged" });
    const place = (start, size, whole) => (whole > size ? (100 * start) / (whole - size) : 0);
    made.style.backgroundImage = `url("${document.querySelector(".overlay img").getAttribute("src")}")`;
    made.style.backgroundSize = `${(100 * data.width) / width}% ${(100 * data.height) / height}%`;
    made.style.backgroundPosition = `${place(x, width, data.width)}% ${place(y, height, data.height)}%`;
    made.style.aspectRatio = `${width} / ${height}`;
    return made;
  };

  const describe = ([x, y, width, height, candidates]) => {
    const items = candidates.map(([id, probability]) => {
      const one = data.species[id];
      const link = element("a", { href: `../species/${id}.html` }, element("i", {}, isolated(nameOf(id))));
      const bar = element("span", { className: "bar", ariaHidden: "true" }, element("span"));
      bar.firstChild.style.width = `${100 * probability}%`;
      const item = element("li", {}, element("span", {}, link, " ", bar, ` ${probability.toFixed(2)}`));
      if (one && one.photographs.length) {
        const figures = one.photographs.map(([file, credit]) =>
          element(
            "figure",
            { className: "photograph" },
            element("img", { src: `../${file}`, alt: `Training photograph of ${one.name}`, loading: "lazy" }),
            element("figcaption", { textContent: credit }),
          ),
        );
        item.append(element("div", { className: "photographs" }, ...figures));
      }
      return item;
    });
    const list = element("ol", { className: "candidates" }, ...items);
    const title = element("h2", { textContent: "This tile" });
    panel.replaceChildren(title, element("div", { className: "compared" }, crop(x, y, width, height), list));
  };

  // Where the species is uncertain, a genus or family may not be; and all of them may be wrong.
  const certainty = (index) => {
    const [unknown, rank, name, probability] = (data.certainty[view.elements.tiles.value] || [])[index] || [null];
    const line = element("p", { className: "sub" });
    if (rank) line.append(`Trusted: ${rank} `, isolated(name), ` (${probability.toFixed(2)}).`);
    else line.append("No species, genus or family is trusted.");
    if (unknown !== null)
      line.append(` Unknown score ${unknown.toFixed(2)}: the share of validation photographs that look more like a known species.`);
    return line;
  };

  const choose = (rectangle, tile, index) => {
    for (const other of drawing.querySelectorAll("rect")) {
      other.setAttribute("aria-pressed", String(other === rectangle));
      other.setAttribute("tabindex", other === rectangle ? "0" : "-1");
    }
    describe(tile);
    panel.append(certainty(index));
  };

  const draw = () => {
    const tiles = data.tiles[view.elements.tiles.value] || [];
    drawing.replaceChildren();
    drawing.classList.toggle("plain", !view.elements.outline.checked);
    // The smallest tiles are drawn last, so that they can be reached.
    const ordered = tiles.map((tile, index) => [tile, index]).sort((a, b) => b[0][2] * b[0][3] - a[0][2] * a[0][3]);
    ordered.forEach(([tile, index], place) => {
      const [x, y, width, height, candidates] = tile;
      const [id, probability] = candidates[0] || [0, 0];
      const label = `Tile ${index + 1}: ${nameOf(id)}, ${probability.toFixed(2)}`;
      const rectangle = svg("rect", { x, y, width, height, role: "button", "aria-label": label, "aria-pressed": "false" });
      rectangle.setAttribute("tabindex", place ? "-1" : "0");
      rectangle.dataset.species = id;
      rectangle.addEventListener("click", () => choose(rectangle, tile, index));
      rectangle.addEventListener("keydown", (event) => {
        const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
        if (event.key === "Enter" || event.key === " ") choose(rectangle, tile, index);
        else if (step) {
          const all = [...drawing.querySelectorAll("rect")];
          const next = all[(all.indexOf(rectangle) + step + all.length) % all.length];
          rectangle.setAttribute("tabindex", "-1");
          next.setAttribute("tabindex", "0");
          next.focus();
        } else return;
        event.preventDefault();
      });
      drawing.append(rectangle);
      if (view.elements.labels.checked && width >= data.width / 9) {
        const short = shortName(id).slice(0, 18);
        const size = Math.min((1.6 * width) / Math.max(short.length, 10), data.width / 28);
        const text = svg("text", { x: x + size / 3, y: y + size * 1.2, "font-size": size, "aria-hidden": "true" });
        text.textContent = short;
        drawing.append(text);
      }
    });
  };

  const chooseRun = () => {
    const run = data.runs.find((one) => one.name === view.elements.run.value);
    const choices = Object.keys(data.tiles).map((key) => element("option", { value: key, textContent: key.replace("|", ", ") }));
    view.elements.tiles.replaceChildren(...choices);
    if (run && data.tiles[run.tiles]) view.elements.tiles.value = run.tiles;
    for (const list of document.querySelectorAll(".list")) list.hidden = list.dataset.run !== view.elements.run.value;
    draw();
  };

  view.elements.run.addEventListener("change", chooseRun);
  for (const name of ["tiles", "outline", "labels"]) view.elements[name].addEventListener("change", draw);
  view.addEventListener("submit", (event) => event.preventDefault());
  for (const row of document.querySelectorAll("[data-species]")) {
    const light = (on) => {
      for (const tile of drawing.querySelectorAll("rect"))
        tile.classList.toggle("match", on && tile.dataset.species === row.dataset.species);
    };
    row.addEventListener("mouseenter", () => light(true));
    row.addEventListener("mouseleave", () => light(false));
    row.addEventListener("focusin", () => light(true));
    row.addEventListener("focusout", () => light(false));
  }
  chooseRun();
}

const readMarks = () => {
  try {
    return JSON.parse(localStorage.getItem(MARKS)) || {};
  } catch {
    return {};
  }
};
const truthOf = (mark) => [...new Set([...mark.right, ...mark.missing])];

function quoted(field, form) {
  return form.quoted ? `"${field.replaceAll('"', '""')}"` : field;
}

function submission(marks, form) {
  const line = (fields) => fields.map((field) => quoted(field, form)).join(form.separator) + "\n";
  const rows = Object.entries(marks).map(([plot, mark]) => line([plot, `[${truthOf(mark).join(", ")}]`]));
  return line(form.header) + rows.join("");
}

function save(name, text, type) {
  const link = element("a", { href: URL.createObjectURL(new Blob([text], { type })), download: name });
  document.body.append(link);
  link.click();
  link.remove();
}

function review(data) {
  const section = document.getElementById("review");
  const names = speciesNames();
  const byName = new Map([...names].map(([id, name]) => [name, id]));
  const done = document.getElementById("done");
  const state = document.getElementById("review-state");
  const marks = readMarks();
  const mark = marks[data.plot] || { right: [], wrong: [], missing: [], complete: false };
  const run = () => data.runs.find((one) => one.name === document.getElementById("view").elements.run.value);
  const listed = () => (run() ? run().species : []);

  const keep = () => {
    marks[data.plot] = { ...mark, run: run() ? run().name : null, when: new Date().toISOString() };
    localStorage.setItem(MARKS, JSON.stringify(marks));
    show();
  };
  const toggle = (id, kind) => {
    const was = mark[kind].includes(id);
    for (const one of ["right", "wrong"]) mark[one] = mark[one].filter((other) => other !== id);
    if (!was) mark[kind].push(id);
    mark.complete = false;
    keep();
  };
  const show = () => {
    for (const row of document.querySelectorAll("li[data-species]")) {
      const id = Number(row.dataset.species);
      const button = (kind, sign) => {
        const made = element("button", { type: "button", textContent: sign });
        made.setAttribute("aria-pressed", String(mark[kind].includes(id)));
        made.setAttribute("aria-label", `Mark ${names.get(id) || id} as ${kind}`);
        made.addEventListener("click", () => {
          toggle(id, kind);
          row.querySelector(`button[aria-label$="${kind}"]`).focus();
        });
        return made;
      };
      row.querySelector(".marks").replaceChildren(button("right", "✓"), button("wrong", "✗"));
    }
    const list = document.getElementById("missing");
    list.replaceChildren(
      ...mark.missing.map((id) => {
        const remove = element("button", { type: "button", textContent: "remove", className: "button" });
        remove.addEventListener("click", () => {
          mark.missing = mark.missing.filter((other) => other !== id);
          mark.complete = false;
          keep();
        });
        return element("li", {}, isolated(names.get(id) || String(id)), " ", remove);
      }),
    );
    const open = listed().filter((id) => !mark.right.includes(id) && !mark.wrong.includes(id)).length;
    done.disabled = open > 0;
    done.setAttribute("aria-pressed", String(mark.complete));
    const complete = Object.values(marks).filter((one) => one.complete).length;
    const left = open ? `${open} species are not marked. ` : "";
    state.textContent = `${left}${complete} ${complete === 1 ? "plot is" : "plots are"} reviewed.`;
  };

  document.querySelector("#review form").addEventListener("submit", (event) => {
    event.preventDefault();
    const field = event.target.elements.missing;
    const id = byName.get(field.value.trim());
    field.setCustomValidity(id === undefined ? "Choose a species of the list." : "");
    if (id === undefined) return field.reportValidity();
    if (!mark.missing.includes(id)) mark.missing.push(id);
    field.value = "";
    mark.complete = false;
    keep();
  });
  document.querySelector("#review form").elements.missing.addEventListener("input", (event) => event.target.setCustomValidity(""));
  done.addEventListener("click", () => {
    mark.complete = !mark.complete;
    keep();
  });
  document.getElementById("view").elements.run.addEventListener("change", show);
  document.getElementById("download").addEventListener("submit", (event) => {
    event.preventDefault();
    const complete = Object.fromEntries(Object.entries(marks).filter(([, one]) => one.complete));
    if (!Object.keys(complete).length) {
      state.textContent = "No plot is reviewed yet: mark every species of a plot, then press Review complete.";
      return;
    }
    const reviewer = event.target.elements.reviewer.value.trim();
    save("reviewed.csv", submission(complete, data.form), "text/csv");
    save("reviewed.review.json", JSON.stringify({ reviewer, plots: complete }, null, 1) + "\n", "application/json");
  });
  section.hidden = false;
  fillNames();
  show();
}

if (window.PLOTS) showGallery();
const described = document.getElementById("plot-data");
if (described) {
  const data = JSON.parse(described.textContent);
  showTiles(data);
  review(data);
}
