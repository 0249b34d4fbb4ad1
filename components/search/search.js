// Draws the pictures with plotly in the colours of the page, and sorts the table.
"use strict";

const pictures = [...document.querySelectorAll("[data-figure]")];

const config = {
  displaylogo: false,
  modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]],
  plotlyServerURL: "", // The pictures are never sent anywhere.
  responsive: true,
};

function colours(annotations) {
  const style = getComputedStyle(document.documentElement);
  const [ink, muted, line, surface] = ["--ink", "--muted", "--line", "--surface"].map((name) =>
    style.getPropertyValue(name).trim(),
  );
  const labels = annotations.map((_, number) => [
    [`annotations[${number}].bgcolor`, surface],
    [`annotations[${number}].font.color`, ink],
  ]);
  return {
    ...Object.fromEntries(labels.flat()),
    "font.color": muted,
    "font.family": "system-ui, sans-serif",
    "hoverlabel.bgcolor": surface,
    "hoverlabel.bordercolor": muted,
    "hoverlabel.font.color": ink,
    "modebar.bgcolor": "rgba(0,0,0,0)",
    "modebar.color": line,
    "modebar.activecolor": muted,
    "xaxis.gridcolor": line,
    "yaxis.gridcolor": line,
    "xaxis.linecolor": line,
    "yaxis.linecolor": line,
    "xaxis.zerolinecolor": line,
    "yaxis.zerolinecolor": line,
  };
}

function paint(picture) {
  Plotly.relayout(picture, colours(picture.layout.annotations ?? []));
}

for (const picture of pictures) {
  const figure = JSON.parse(document.getElementById(picture.dataset.figure).textContent);
  Plotly.newPlot(picture, figure.data, figure.layout, config);
  paint(picture);
}
const dark = matchMedia("(prefers-color-scheme: dark)");
dark.addEventListener("change", () => pictures.forEach(paint));

// A number is smaller than a text, and an empty cell is last in both orders.
function compare(one, other, order) {
  if (one === "" || other === "") return (one === "") - (other === "");
  const numbers = [Number(one), Number(other)];
  if (numbers.every((number) => !Number.isNaN(number))) return order * (numbers[0] - numbers[1]);
  return order * one.localeCompare(other, "en");
}

for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => {
    const header = button.closest("th");
    const body = header.closest("table").tBodies[0];
    const order = header.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    for (const other of header.parentNode.cells) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", order === 1 ? "ascending" : "descending");
    const key = (row) => row.cells[header.cellIndex].dataset.key;
    body.append(...[...body.rows].sort((one, other) => compare(key(one), key(other), order)));
  });
}
