MathJax.Hub.Config({
  // Environments outside of formulas are source code in listings; so is everything in the classes named.
  tex2jax: { processEnvironments: false, ignoreClass: "fragment|line|tooltip" },
  TeX: { Macros: { lt: "<", gt: ">" } },
  SVG: { font: "TeX", linebreaks: { automatic: false } },
  showMathMenu: false
});
