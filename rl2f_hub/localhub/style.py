"""The style sheet of the pages. Colours are variables: one set for light, one for dark."""

CSS = """
:root{--bg:#fbfbfa;--panel:#fff;--line:#e4e4e0;--text:#1d1f23;--dim:#6a6f78;--accent:#0b6e5f;--accent-bg:#e3f3ef;
--code:#f3f3f0;--model:#7c3aed;--dataset:#c2410c;--space:#1d4ed8;--shadow:0 1px 2px #0000000d}
@media(prefers-color-scheme:dark){:root{--bg:#131417;--panel:#1a1c20;--line:#2c2f36;--text:#e6e7ea;--dim:#9aa0ab;
--accent:#5fd0bb;--accent-bg:#15332e;--code:#22252a;--model:#b79bff;--dataset:#ffa56b;--space:#8fb3ff;--shadow:none}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--text);
font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
a{color:var(--accent);text-decoration:none}a:hover{text-decoration:underline}
a:focus-visible,input:focus-visible{outline:2px solid var(--accent);outline-offset:2px;border-radius:4px}
.wide{max-width:1120px;margin:0 auto;padding:0 20px}
.top{border-bottom:1px solid var(--line);background:var(--panel);position:sticky;top:0;z-index:2}
.top .wide{display:flex;gap:22px;align-items:center;min-height:56px;flex-wrap:wrap}
.brand{display:flex;gap:8px;align-items:center;font-weight:650;color:var(--text)}.brand svg{color:var(--accent)}
.top nav{display:flex;gap:16px;font-size:15px}.top nav a{color:var(--dim)}
.top form{margin-left:auto}@media(max-width:560px){.top .wide{padding-top:8px;padding-bottom:8px;gap:8px 18px}
.top form,.top input{width:100%}}
input{font:inherit;font-size:14px;color:inherit;background:var(--bg);border:1px solid var(--line);border-radius:8px;
padding:6px 12px;width:210px;max-width:100%}
main{padding-top:28px!important;min-height:70vh}
footer{color:var(--dim);font-size:13px;padding:36px 20px!important}
h1 a{color:inherit}h1{font-size:26px;line-height:1.25;margin:0 0 6px;overflow-wrap:anywhere}h2{font-size:18px;
margin:30px 0 12px}
.dim{color:var(--dim)}.small{font-size:13.5px}.number{text-align:right;white-space:nowrap;
font-variant-numeric:tabular-nums}
.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(310px,1fr));gap:12px}
.card{display:block;background:var(--panel);border:1px solid var(--line);border-radius:10px;padding:14px 16px;
color:inherit;box-shadow:var(--shadow)}.card:hover{border-color:var(--accent);text-decoration:none}
.card b{display:block;overflow-wrap:anywhere;font-weight:600}.card p{margin:4px 0 0;color:var(--dim);font-size:13.5px}
.kind{font-size:12px;font-weight:650;letter-spacing:.04em;text-transform:uppercase}
.kind.model{color:var(--model)}.kind.dataset{color:var(--dataset)}.kind.space{color:var(--space)}
.chips{display:flex;flex-wrap:wrap;gap:6px;margin:10px 0 0}
.chip{font-size:13px;border:1px solid var(--line);background:var(--panel);border-radius:99px;padding:1px 10px;
color:var(--dim);max-width:100%;overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
.tabs{display:flex;gap:4px;margin:18px 0 20px;border-bottom:1px solid var(--line);overflow-x:auto}
.tabs a{padding:8px 14px;color:var(--dim);border-bottom:2px solid transparent;white-space:nowrap}
.tabs a.on{color:var(--text);border-color:var(--accent);font-weight:600}.tabs a:hover{text-decoration:none;
color:var(--text)}
.configs{display:flex;flex-wrap:wrap;gap:6px;margin:0 0 12px}.configs a{border:1px solid var(--line);
border-radius:8px;
padding:3px 12px;font-size:14px;color:var(--dim);background:var(--panel)}
.configs a.on{color:var(--accent);border-color:var(--accent);background:var(--accent-bg)}
.two{display:grid;grid-template-columns:minmax(0,1fr) 312px;gap:28px;align-items:start}
@media(max-width:860px){.two{grid-template-columns:minmax(0,1fr)}}
aside section,.panel{background:var(--panel);border:1px solid var(--line);border-radius:10px;padding:14px 16px;
margin-bottom:14px;box-shadow:var(--shadow)}
aside h3{margin:0 0 8px;font-size:14px}dl{display:grid;grid-template-columns:auto 1fr;gap:3px 14px;margin:0;
font-size:14px}
dt{color:var(--dim)}dd{margin:0;text-align:right;overflow-wrap:anywhere}
pre,code{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;font-size:13.5px}
code{background:var(--code);border-radius:4px;padding:1px 5px}
pre{background:var(--code);border-radius:8px;padding:12px 14px;overflow:auto;margin:0 0 14px;line-height:1.5}
pre code{background:none;padding:0}
aside pre{font-size:12.5px;line-height:1.65;padding:10px;white-space:pre-wrap;overflow-wrap:anywhere;margin:0}
.lines{counter-reset:l;padding-left:0}.lines span{display:block;padding-left:64px;position:relative;min-height:1.5em}
.lines span::before{counter-increment:l;content:counter(l);position:absolute;left:0;width:48px;text-align:right;
color:var(--dim);user-select:none}
.scroll{overflow-x:auto;border:1px solid var(--line);border-radius:10px;background:var(--panel);margin-bottom:14px}
table{border-collapse:collapse;width:100%;font-size:14.5px}
th,td{padding:8px 12px;border-bottom:1px solid var(--line);text-align:left;vertical-align:top}
tr:last-child>td{border-bottom:0}th{font-weight:600;font-size:13px;color:var(--dim);background:var(--bg)}
.files td{padding:7px 12px}.files td:first-child{overflow-wrap:anywhere;min-width:88px}
.rows td{max-width:420px;min-width:70px;font-size:13.5px;overflow-wrap:anywhere;white-space:pre-wrap}
.rows td:has(.turn){min-width:300px}.scroll:has(.rows){max-height:470px;overflow:auto}
.rows th{position:sticky;top:0}.rows th small{display:block;font-weight:400}.rows .turn{margin:0 0 5px}
.rows .turn b{color:var(--accent);font-size:12px}
.markdown{overflow-wrap:anywhere}.markdown>:first-child{margin-top:0}.markdown h1{font-size:24px;margin:26px 0 10px}
.markdown h2{font-size:20px;border-bottom:1px solid var(--line);padding-bottom:4px}.markdown h3{font-size:17px}
.markdown img{max-width:100%;border-radius:6px}.markdown table{display:block;overflow-x:auto;width:auto;
max-width:100%}
.markdown table{margin:0 0 16px}.markdown pre{margin-top:4px}
.markdown th,.markdown td,.markdown tr:last-child>td{border:1px solid var(--line)}.markdown hr{border:0;
border-top:1px solid var(--line)}
.markdown blockquote{margin:0 0 14px;padding:2px 16px;border-left:3px solid var(--accent);color:var(--dim)}
.center{text-align:center!important}.right{text-align:right!important}
.note{background:var(--accent-bg);border-radius:8px;padding:9px 14px;font-size:14px;margin-bottom:16px}
.empty{text-align:center;padding:70px 0;color:var(--dim)}.empty h1{font-size:40px;color:var(--text)}
.empty pre{display:inline-block;text-align:left;color:var(--text)}
.preview img{max-width:100%;border:1px solid var(--line);border-radius:8px}
"""
