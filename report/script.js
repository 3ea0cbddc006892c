// What the page can do beyond being read. It is read, searched and printed as well without.

// The contents stand open beside the text where there is room, and folded above it on a phone.
const contents = document.getElementById("contents");
const wide = matchMedia("(min-width: 70rem)");
const unfold = () => { contents.open = wide.matches; };
wide.addEventListener("change", unfold);
unfold();

// A click on a figure shows it as large as the window allows; a click or Esc closes it.
const large = document.createElement("dialog");
large.setAttribute("aria-label", "Figure, enlarged");
large.addEventListener("click", () => large.close());
document.body.append(large);
for (const button of document.querySelectorAll("button.enlarge")) {
  button.title = "Enlarge";
  button.addEventListener("click", () => {
    const close = document.createElement("button");
    close.textContent = "Close";
    const image = button.querySelector("img").cloneNode();
    image.removeAttribute("style");
    large.replaceChildren(close, image);
    large.showModal();
  });
}

// "Copy" puts a table on the clipboard as spreadsheets read it: cells by tabs, minus signs as keyboards have them.
for (const button of document.querySelectorAll("button.copy")) {
  button.addEventListener("click", async () => {
    const table = button.closest("figure").querySelector("table");
    const lines = Array.from(table.rows, (row) => Array.from(row.cells, (cell) => cell.textContent.trim()).join("\t"));
    try {
      await navigator.clipboard.writeText(lines.join("\n").replaceAll("−", "-"));
      button.textContent = "Copied";
    } catch {  // a browser that does not let pages write to the clipboard
      getSelection().selectAllChildren(table);
      button.textContent = "Selected: copy it by keyboard";
    }
  });
}
