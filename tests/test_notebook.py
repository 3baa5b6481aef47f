"""The example notebook: it runs in a kernel, and plots what it has measured."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parent.parent / "examples" / "query-budget.ipynb"
CHECK = """
import json, math
drawn = {
    f"{axis.get_title()} {line.get_label()}": [list(map(float, line.get_xdata())), list(map(float, line.get_ydata()))]
    for axis in axes for line in axis.lines if not line.get_label().startswith("_")
}
measured = {}
for row in results.budgets.sort_values("budget").to_dict("records"):
    points = measured.setdefault(f"{row['attack']} {row['method']}", [[], []])
    points[0].append(float(row["budget"]))
    points[1].append(row["auc"])
print("CHECK", json.dumps([drawn, measured, results.complete, len(results.trials)]))
"""


def read():
    return json.loads(NOTEBOOK.read_text())


def test_it_is_kept_with_what_it_measured():
    cells = read()["cells"]
    outputs = [o for c in cells for o in c.get("outputs", ())]
    assert not [o for o in outputs if o["output_type"] == "error"]
    assert sum("image/png" in o.get("data", ()) for o in outputs) == 1
    assert any("<table>" in "".join(o.get("data", {}).get("text/html", ())) for o in outputs)
    assert not re.search(r"/tmp/|/home/|/root/", NOTEBOOK.read_text())


def test_it_uses_public_names_only():
    code = "\n".join("".join(c["source"]) for c in read()["cells"] if c["cell_type"] == "code")
    imported = set(re.findall(r"^(?:import|from) (\w+)", code, re.MULTILINE))
    assert imported == {"dataclasses", "matplotlib", "torch", "bench"}
    compile(code, "<notebook>", "exec")


@pytest.mark.slow
def test_it_runs_in_a_kernel_and_plots_what_was_measured(tmp_path):
    notebook = read()
    for cell in notebook["cells"]:
        cell["outputs"] = [] if cell["cell_type"] == "code" else cell.get("outputs")
        if cell["outputs"] is None:
            del cell["outputs"]
    more = {"cell_type": "code", "id": "check", "metadata": {}, "execution_count": None, "outputs": [], "source": CHECK}
    notebook["cells"].append(more)
    (tmp_path / "notebook.ipynb").write_text(json.dumps(notebook))
    command = [sys.executable, "-m", "jupyter", "execute", "notebook.ipynb", "--output=done.ipynb", "--timeout=570"]
    environment = {**os.environ, "BENCH_STORE": str(tmp_path / "store")}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    outputs = json.loads((tmp_path / "done.ipynb").read_text())["cells"][-1]["outputs"]
    drawn, measured, complete, trials = json.loads("".join(outputs[0]["text"]).removeprefix("CHECK "))
    assert complete
    assert trials > 500
    assert drawn == measured
    assert {*drawn} == {f"{a} {m}" for a in ("extract_l", "finetune_a") for m in ("sac_m", "akh", "unsure")}
    assert all(points[0] == [5, 10, 25, 50, 100, 200] for points in drawn.values())
    assert all(0 <= auc <= 1 for points in drawn.values() for auc in points[1])
    assert (tmp_path / "results" / "query-budget" / "trials.csv").is_file()
