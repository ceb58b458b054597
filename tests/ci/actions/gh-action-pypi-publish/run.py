"""Says which files would be published; an empty folder, or one that holds something else, is an error."""

import os
import sys
from pathlib import Path

folder = Path(os.environ["INPUT_PATHS"])
paths = sorted(folder.iterdir()) if folder.is_dir() else []
for path in paths:
    if not path.name.endswith((".whl", ".tar.gz")):
        sys.exit(f"publish: {path} is no distribution")
    print(f"would publish: {path}")
if not paths:
    sys.exit(f"publish: there is nothing in {folder}")
