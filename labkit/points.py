"""Films as points of IoU against the size of the true mask: a widget in which a click on a point chooses its film."""

import traitlets
from anywidget import AnyWidget
from matplotlib.colors import to_hex

from labkit.style import CLASS_COLOURS

# In a notebook's page: an ES module, as anywidget wants it. Names are put in as text, never as markup.
DRAWING = """
function add(parent, name, attributes, text = "") {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const key in attributes) made.setAttribute(key, attributes[key]);
  made.textContent = text;
  return parent.appendChild(made);
}
export default { render({ model, el }) {
  let ring;
  function circle() {
    const point = el.querySelectorAll("circle")[model.get("chosen") - 1];
    for (const key of ["cx", "cy"]) if (point) ring.setAttribute(key, point.getAttribute(key));
  }
  function draw() {
    el.replaceChildren();
    const films = model.get("films"), colours = model.get("colours");
    if (!films.length) return;
    const most = Math.ceil(25 * Math.max(...films.map(([area]) => area))) / 25;  // quarters of it are whole percents
    const x = (area) => 60 + 700 * area / most, y = (iou) => 195 - 170 * iou;
    const svg = add(el, "svg", { viewBox: "0 0 780 240", style: "display: block; max-width: 780px", fill: "currentColor",
      "font-size": 11, "text-anchor": "middle", role: "img", "aria-label": "IoU of films by true mask" });
    add(svg, "path", { d: "M60 25V195H760", fill: "none", stroke: "currentColor" });
    for (const part of [0, 0.25, 0.5, 0.75, 1]) {
      add(svg, "text", { x: x(part * most), y: 211 }, Math.round(100 * part * most));
      add(svg, "text", { x: 42, y: y(part) + 4 }, part);
    }
    add(svg, "text", { x: 410, y: 230 }, "True mask (% of film)");
    add(svg, "text", { x: 42, y: 12 }, "IoU of a film");
    Object.keys(colours).filter((name) => films.some((film) => film[2] === name)).forEach((name, n) =>
      add(add(svg, "text", { x: 310 + 110 * n, y: 12 }, name + " "), "tspan", { fill: colours[name] }, "●"));
    const r = films.length > 1000 ? 2 : 4;
    films.forEach(([area, iou, category, name], n) => {
      const point = add(svg, "circle", { cx: x(area), cy: y(iou), r, fill: colours[category], cursor: "pointer" });
      add(point, "title", {}, name);
      point.onclick = () => { model.set("chosen", n + 1); model.save_changes(); };
    });
    ring = add(svg, "circle", { r: 8, fill: "none", stroke: "currentColor", "stroke-width": 1.5 });
    circle();
  }
  model.on("change:films", draw);
  model.on("change:chosen", circle);
  draw();
  model.set("shown", true); model.save_changes();
} };
"""


class Points(AnyWidget):
    """Draws `films`, rows of area (the true mask's share of the film), IoU (both in [0, 1]), class and name.

    `chosen` is the number of the circled film, counted from 1; a click sets it. `shown` becomes true once a page shows the
    widget, which never happens where a notebook runs without one, as in papermill.
    """

    _esm = DRAWING
    films: traitlets.List = traitlets.List().tag(sync=True)
    colours = traitlets.Dict({name: to_hex(colour) for name, colour in CLASS_COLOURS.items()}).tag(sync=True)
    chosen = traitlets.Int(1).tag(sync=True)
    shown = traitlets.Bool(False).tag(sync=True)
