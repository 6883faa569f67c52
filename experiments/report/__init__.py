"""From processed results to what a reader sees: figures, the terminal's summary, report.html."""

import os
import tempfile
from pathlib import Path

# Matplotlib keeps a font cache in the home folder, and complains at length where it may not write there.
if not os.access(Path.home(), os.W_OK):
    os.environ.setdefault("MPLCONFIGDIR", str(Path(tempfile.gettempdir()) / f"testbed-matplotlib-{os.getuid()}"))
