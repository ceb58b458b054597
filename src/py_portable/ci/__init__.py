"""The code that runs in the jobs of a CI service: a package for each service, and the files that jobs pass on."""
