"""The look of report.html; text in a module, so that it is wherever the package is."""

STYLE = """
:root {
  --ink: #1f2937; --faint: #6b7280; --line: #e5e7eb; --paper: #ffffff; --ground: #f6f7f9;
  --accent: #0e7490;
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--ground); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif;
  font-variant-numeric: tabular-nums;
}
main { max-width: 1120px; margin: 0 auto; padding: 56px 28px 40px; }
.brand { margin: 0; color: var(--accent); font-weight: 650; letter-spacing: .04em; }
h1 { margin: 6px 0 10px; font-size: 38px; line-height: 1.15; letter-spacing: -.02em; }
h2 { margin: 0 0 4px; font-size: 22px; letter-spacing: -.01em; }
h3 { margin: 0; font-size: 16px; }
.lead { max-width: 46em; margin: 0; font-size: 18px; color: #4b5563; }
section { margin-top: 48px; }
.note { max-width: 54em; margin: 0 0 16px; color: var(--faint); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px; }
.tile {
  padding: 16px 18px; background: var(--paper); border: 1px solid var(--line);
  border-radius: 10px;
}
.tile b {
  display: block; font-size: 24px; font-weight: 620; letter-spacing: -.02em; white-space: nowrap;
}
.tile span { color: var(--faint); font-size: 14px; line-height: 1.35; display: block; }
article {
  display: flex; flex-wrap: wrap; gap: 16px 24px; margin-bottom: 14px; padding: 16px;
  background: var(--paper); border: 1px solid var(--line); border-radius: 10px;
}
.pictures { display: grid; grid-template-columns: repeat(3, minmax(0, 1fr)); gap: 10px; flex: 3; }
.words { flex: 1; min-width: 220px; font-size: 14.5px; }
.words p { margin: 0 0 6px; color: var(--faint); }
.words .remark { margin-top: 8px; color: var(--ink); }
.poses {
  display: grid; grid-template-columns: repeat(auto-fill, minmax(205px, 1fr)); gap: 10px 26px;
  font-size: 14.5px; align-items: start;
}
article > .poses { flex-basis: 100%; }
figure { margin: 0; }
figcaption { margin-top: 4px; color: var(--faint); font-size: 13px; }
img { display: block; width: 100%; border-radius: 6px; }
img.pixels { image-rendering: pixelated; }
table { width: 100%; border-collapse: collapse; }
th { padding: 6px 0 2px; text-align: left; font-weight: 620; }
th i { display: inline-block; width: 10px; height: 10px; margin-right: 7px; border-radius: 3px; }
i.swatch {
  display: inline-block; width: 10px; height: 10px; margin-right: 7px; border-radius: 3px;
}
th em { float: right; font-style: normal; font-weight: 400; color: var(--faint); }
td { padding: 1px 0; border-top: 1px solid #f1f2f4; }
td:first-child { width: 3em; color: var(--faint); }
td:last-child { text-align: right; }
.viewers { display: grid; grid-template-columns: repeat(auto-fit, minmax(320px, 1fr)); gap: 14px; }
.viewer iframe {
  display: block; width: 100%; height: 300px; background: var(--paper);
  border: 1px solid var(--line); border-radius: 10px;
}
.sheet {
  display: grid; grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); gap: 16px 14px;
}
footer {
  margin-top: 56px; padding-top: 14px; border-top: 1px solid var(--line); color: var(--faint);
  font-size: 13.5px;
}
@media (max-width: 820px) { article { flex-flow: column nowrap; } }
"""
