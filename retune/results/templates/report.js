"use strict";

const page = JSON.parse(document.getElementById("page-data").textContent);
const prefersDark = matchMedia("(prefers-color-scheme: dark)");
const config = { responsive: true, displayModeBar: false };
// These hold data, which may look like a colour and must stay as it is.
const DATA_KEYS = new Set(["x", "y", "z", "text", "ticktext", "customdata", "name"]);

/** A copy of a figure's part with every light colour replaced by its dark one. */
function darkened(part) {
  if (typeof part === "string") return page.darkForLight[part] ?? part;
  if (Array.isArray(part)) return part.map(darkened);
  if (part === null || typeof part !== "object") return part;
  return Object.fromEntries(
    Object.entries(part).map(([key, value]) => [key, DATA_KEYS.has(key) ? value : darkened(value)])
  );
}

function draw(dark) {
  for (const { name, spec } of page.figures) {
    const place = document.querySelector(`[data-figure="${CSS.escape(name)}"]`);
    const { data, layout } = dark ? darkened(spec) : structuredClone(spec);
    // A finger on a figure scrolls the page; only a mouse zooms.
    layout.dragmode = matchMedia("(pointer: coarse)").matches ? false : "zoom";
    Plotly.react(place, data, layout, config);
  }
}

function setUpFilter(examples) {
  const buttons = [...examples.querySelectorAll("[data-show]")];
  const search = examples.querySelector("[type=search]");
  const count = examples.querySelector("output");
  const rows = [...examples.querySelectorAll("tbody tr")];

  function apply() {
    const outcomes = buttons.find((button) => button.ariaPressed === "true").dataset.show.split(" ");
    const wanted = search.value.trim().toLowerCase();
    for (const row of rows) {
      row.hidden = !outcomes.includes(row.dataset.outcome) || !row.textContent.toLowerCase().includes(wanted);
    }
    count.textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length} shown`;
  }

  for (const button of buttons) {
    const outcomes = button.dataset.show.split(" ");
    button.append(` (${rows.filter((row) => outcomes.includes(row.dataset.outcome)).length})`);
    button.addEventListener("click", () => {
      for (const other of buttons) other.ariaPressed = String(other === button);
      apply();
    });
  }
  search.addEventListener("input", apply);
  apply();
}

draw(prefersDark.matches);
prefersDark.addEventListener("change", () => draw(prefersDark.matches));
addEventListener("beforeprint", () => draw(false));
addEventListener("afterprint", () => draw(prefersDark.matches));
const examples = document.getElementById("examples");
if (examples) setUpFilter(examples);
