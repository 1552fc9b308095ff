"""The page's style: light, dark and on paper. The colours of charts stand beside those of words."""

from typing import Final

STYLE: Final = """
:root{color-scheme:light dark;--paper:#fff;--ink:#1b1f24;--soft:#57606a;--rule:#d0d7de;
--panel:#f6f8fa;--link:#0550ae;--ran:#1f77b4;--carried:#9467bd;--lost:#b2182b;--start:#b8860b;
--wait:#e07b39;--cores:#7f7f7f;--input:#2a9d8f;--idle:#c9ced4;--warn:#b35900;--bad:#b2182b}
@media screen and (prefers-color-scheme:dark){:root{--paper:#0d1117;--ink:#e6edf3;--soft:#9da7b3;
--rule:#30363d;--panel:#161b22;--link:#79c0ff;--ran:#58a6ff;--carried:#bc8cff;--lost:#ff7b72;
--start:#e3b341;--wait:#f0883e;--cores:#8b949e;--input:#56d4c4;--idle:#3b434b;--warn:#f0883e;
--bad:#ff7b72}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
main,header,footer{max-width:64rem;margin:0 auto;padding:0 1rem}
h1{font-size:1.5rem;margin:1rem 0 .3rem}h2{font-size:1.2rem;margin:2rem 0 .4rem;
border-bottom:1px solid var(--rule)}h3{font-size:1rem;margin:1rem 0 .3rem}
a{color:var(--link)}.skip{position:absolute;left:-99rem}.skip:focus{left:1rem;top:.5rem}
.verdict{font-size:1.05rem;background:var(--panel);padding:.6rem 1rem;
border-left:4px solid var(--ran)}
.verdict p{margin:.2rem 0}.soft{color:var(--soft)}
dl.facts{display:grid;grid-template-columns:max-content 1fr;gap:.1rem 1rem;margin:.5rem 0}
dl.facts dd{margin:0}
.scroll{overflow-x:auto}
table{border-collapse:collapse;font-size:.875rem;margin:.4rem 0}
caption{text-align:left;color:var(--soft);padding:.2rem 0}
th,td{padding:.2rem .6rem;border-bottom:1px solid var(--rule);text-align:left;vertical-align:top}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
td.w{overflow-wrap:anywhere}
pre,code{font:.8125rem/1.4 ui-monospace,monospace}
pre{background:var(--panel);padding:.6rem;overflow-x:auto;white-space:pre-wrap;
overflow-wrap:anywhere}
svg{width:100%;height:auto;display:block;margin:.4rem 0}
svg text{font:11px system-ui,sans-serif;fill:var(--soft)}
.grid{stroke:var(--rule);stroke-width:1;fill:none}
.line{fill:none;stroke-width:2;stroke:var(--ran)}.line.thin{stroke-width:1}
.line.limit{stroke:var(--bad);stroke-dasharray:6 3}.line.critical{stroke:var(--lost);stroke-width:1}
.line.warn{stroke:var(--warn)}.line.target{stroke:var(--input);stroke-dasharray:2 3}
.line.ours{stroke:var(--carried)}.line.reserved{stroke:var(--start);stroke-dasharray:4 2}
.line.low{stroke:var(--ran);stroke-width:1;stroke-dasharray:1 2}
.ran{fill:var(--ran)}.carried{fill:var(--carried)}.lost{fill:var(--lost)}.start{fill:var(--start)}
.wait{fill:var(--wait)}.cores{fill:var(--cores)}.input{fill:var(--input)}.idle{fill:var(--idle)}
.failed{fill:var(--warn)}.dots{fill:var(--ran);fill-opacity:.6}
.mark{stroke-width:1.5;stroke:var(--soft);fill:none}.mark.bad{stroke:var(--bad)}
.mark.warn{stroke:var(--warn);stroke-dasharray:4 2}.mark.good{stroke:var(--input)}
ul.legend{list-style:none;display:flex;flex-wrap:wrap;gap:.2rem 1.2rem;padding:0;margin:.2rem 0;
font-size:.875rem}
.key{display:inline-block;width:.9rem;height:.9rem;margin-right:.35rem;vertical-align:-.1rem;
border:1px solid var(--rule);background:var(--ran)}
.key.carried,.key.ours{background:var(--carried)}
.key.lost,.key.limit,.key.bad{background:var(--bad)}
.key.critical{background:var(--lost)}.key.start,.key.reserved{background:var(--start)}
.key.wait{background:var(--wait)}.key.cores{background:var(--cores)}
.key.input,.key.target,.key.good{background:var(--input)}.key.idle{background:var(--idle)}
.key.warn,.key.failed{background:var(--warn)}.key.soft{background:var(--soft)}
details>summary{cursor:pointer;color:var(--link)}
:focus-visible{outline:3px solid var(--link);outline-offset:2px}
@media print{:root{--paper:#fff;--ink:#000;--soft:#333;--panel:#fff}body{font-size:11pt}
main,header,footer{max-width:none}h2{break-after:avoid}svg,table{break-inside:avoid}
.skip,nav{display:none}}
"""
