"""What the formats of package managers share: one folder in /opt, links in /usr/bin, and nfpm, which writes them."""
