// Uses apko's implementation of apk:
//
//	apko install ROOT NAME PACKAGE   installs a package into an empty root; prints its version and its dependencies
//	apko sorted VERSION...           exits with 1 where a version is not older than the next one
package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"os"
	"strings"

	"chainguard.dev/apko/pkg/apk/apk"
	"chainguard.dev/apko/pkg/apk/expandapk"
	apkfs "chainguard.dev/apko/pkg/apk/fs"
)

type file struct{ name, path string }

func (f file) URL() string            { return f.path }
func (f file) PackageName() string    { return f.name }
func (f file) ChecksumString() string { return "" }

func install(root, name, path string) error {
	ctx := context.Background()
	stream, err := os.Open(path)
	if err != nil {
		return err
	}
	expanded, err := expandapk.ExpandApk(ctx, stream, "")
	if err != nil {
		return err
	}
	defer expanded.Close()
	system, err := apk.New(apk.WithFS(apkfs.DirFS(root)), apk.WithIgnoreMknodErrors(true))
	if err != nil {
		return err
	}
	if err := system.InitDB(ctx); err != nil {
		return err
	}
	if err := system.InstallPackages(ctx, nil, []apk.InstallablePackage{file{name, path}}); err != nil {
		return err
	}
	installed, err := system.GetInstalled()
	if err != nil {
		return err
	}
	for _, each := range installed {
		fmt.Println(each.Name, each.Version, strings.Join(each.Dependencies, " "))
		fmt.Println(hex.EncodeToString(expanded.PackageHash))
		for _, header := range each.Files {
			fmt.Println(header.Name)
		}
	}
	return nil
}

func sorted(versions []string) error {
	for at := range versions[1:] {
		older, err := apk.ParseVersion(versions[at])
		if err != nil {
			return err
		}
		newer, err := apk.ParseVersion(versions[at+1])
		if err != nil {
			return err
		}
		if apk.CompareVersions(older, newer) >= 0 {
			return fmt.Errorf("%s is not older than %s", versions[at], versions[at+1])
		}
	}
	return nil
}

func main() {
	var err error
	if os.Args[1] == "install" {
		err = install(os.Args[2], os.Args[3], os.Args[4])
	} else {
		err = sorted(os.Args[2:])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
