"""Says which files would be signed; that none is found is an error."""

import os
import sys
from pathlib import Path

wanted = os.environ["INPUT_PATHS"]
paths = [path for line in wanted.split() for path in sorted(Path().glob(line)) if path.is_file()]
for path in paths:
    print(f"would attest: {path}")
if not paths:
    sys.exit(f"attest: nothing is called {wanted}")
