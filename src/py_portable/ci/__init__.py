"""What runs in the jobs of a CI service: a package for each service, and what their jobs hand on."""
