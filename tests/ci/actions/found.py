"""Says which files a step would hand to a server; none, or one that is no distribution to publish, is an error."""

import os
import sys
from pathlib import Path

what = os.environ["INPUT_WHAT"]
paths = [path for line in os.environ["INPUT_PATHS"].split() for path in sorted(Path().glob(line)) if path.is_file()]
if not paths:
    sys.exit(f"{what}: nothing is called {os.environ['INPUT_PATHS']}")
for path in paths:
    if what == "publish" and not path.name.endswith((".whl", ".tar.gz")):
        sys.exit(f"publish: {path} is no distribution")
    print(f"would {what}: {path}")
