# What py-portable gives PyOxidizer. A file of your own is used with `config: FILE`; these are its variables:
# ARCHIVE and ARCHIVE_SHA256 (the interpreter), WHEELS (a folder), STAGE (libraries that extension modules of the
# standard library load, at lib/pylibs). Its default target must give a folder with a program in it that is called
# like the console script; this one calls it portable-app, and is renamed.

def make_exe():
    dist = PythonDistribution(sha256=VARS["ARCHIVE_SHA256"], local_path=VARS["ARCHIVE"], flavor="standalone")
    policy = dist.make_python_packaging_policy()
    policy.extension_module_filter = "all"
    policy.allow_files = True
    policy.file_scanner_emit_files = True
    policy.file_scanner_classify_files = True
    policy.include_file_resources = True
    policy.include_distribution_sources = True
    policy.include_distribution_resources = True
    policy.include_test = False
    policy.bytecode_optimize_level_zero = True
    policy.resources_location = "filesystem-relative:lib"
    config = dist.make_python_interpreter_config()
    config.run_command = @COMMAND@
    config.allocator_backend = "default"
    # Locale, encodings and standard streams as `python` has them; its environment variables and options are not heeded.
    config.config_profile = "python"
    config.isolated = True
    config.parse_argv = False
    config.use_environment = False
    config.user_site_directory = False
    # Its dispatch calls spawn_main with the wrong arguments: run_command does it.
    config.multiprocessing_auto_dispatch = False
    # The driver's own importer crashes with Python 3.11; with this one __file__ and *.libs folders work.
    config.oxidized_importer = False
    config.filesystem_importer = True
    config.module_search_paths = ["$ORIGIN/lib"]
    exe = dist.to_python_executable(name=@NAME@, packaging_policy=policy, config=config)
    # An index for the driver's own importer, in another order each time.
    exe.packed_resources_load_mode = "none"
    wheels = @WHEELS@
    if wheels:
        exe.add_python_resources(exe.pip_install(["--no-index", "--no-deps", "--no-compile"] + wheels))
    return exe

def make_install(exe):
    files = FileManifest()
    files.add_python_resource(".", exe)
    files.add_manifest(glob([VARS["STAGE"] + "/lib/**/*"], strip_prefix=VARS["STAGE"] + "/"))
    return files

register_target("exe", make_exe)
register_target("install", make_install, depends=["exe"], default=True)
resolve_targets()
