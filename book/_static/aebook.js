// What the theme leaves out for those who read with a keyboard or a screen reader.
(() => {
  "use strict";

  // Whatever scrolls sideways can be reached, and so scrolled, with the keyboard.
  const wide = "div.math, mjx-container, .pst-scrollable-table-container, .text_html, pre, dl.py > dt";

  function reach() {
    for (const formula of document.querySelectorAll("mjx-container:not([display])")) {
      formula.classList.remove("aebook-wide");
      const line = formula.closest("p, li, td, th, dd, dt, figcaption, div");
      if (formula.scrollWidth > line.clientWidth) formula.classList.add("aebook-wide");
    }
    for (const element of document.querySelectorAll(wide)) {
      const style = getComputedStyle(element);
      const scrolls = ["auto", "scroll"].includes(style.overflowX) &&
        element.scrollWidth > element.clientWidth;
      if (scrolls) element.tabIndex = 0;
      else element.removeAttribute("tabindex");
    }
  }

  function name() {
    for (const summary of document.querySelectorAll(".bd-links summary")) {
      const chapter = summary.closest("li").querySelector("a").textContent.trim();
      summary.setAttribute("aria-label", `Pages of ${chapter}`);
    }
    // docutils says "list" and gives it no list items.
    for (const list of document.querySelectorAll("div.citation-list")) list.removeAttribute("role");
    // Sphinx sets a long signature as a list of definitions without terms.
    for (const part of document.querySelectorAll("dt.sig dl, dt.sig dl dd")) part.role = "none";
  }

  document.addEventListener("DOMContentLoaded", async () => {
    name();
    await window.MathJax?.startup?.promise;
    reach();
    addEventListener("resize", reach);
    document.addEventListener("toggle", reach, true);
    document.addEventListener("click", () => setTimeout(reach));
  });
})();
