"""From findings to what a reader sees: figures, the terminal's summary, report.html.

Nothing is computed here that a finding rests on, and nothing is measured. All of it is drawn from summary.json.

Open `chain_report` first: it puts the others together.

    chain_report   writes the results of a chain-length run
    chain_summary  its rows and sentences: summary.csv and summary.json (pure)
    chain_figures  its figures
    terminal       its summary on the terminal
    page           report.html
    style          one look for all figures
"""

import os
import tempfile
from pathlib import Path

# Matplotlib keeps a font cache in the home folder, and complains at length where it may not write there.
if not os.access(Path.home(), os.W_OK):
    os.environ.setdefault("MPLCONFIGDIR", str(Path(tempfile.gettempdir()) / f"testbed-matplotlib-{os.getuid()}"))
