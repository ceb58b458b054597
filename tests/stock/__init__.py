"""Stock machines: what a hosted runner, an unprivileged job and a laptop have, as systems of their own."""
