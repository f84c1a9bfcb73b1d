package onnxruntime

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vitrine-project/vitrine/internal/engine/onnxruntime/capi"
)

// pluginFiles are where pip installs a provider's own library, below a folder of packages.
var pluginFiles = map[Provider]string{OpenVINO: "onnxruntime_ep_openvino/libonnxruntime_providers_openvino_plugin.so"}

// SearchPlugins are the libraries of a provider's own that pip has installed: beside ONNX Runtime's file, and
// where Search looks for that.
func SearchPlugins(p Provider, library string) (found []string) {
	file, ok := pluginFiles[p]
	if !ok {
		return nil
	}
	patterns := []string{filepath.Join(filepath.Dir(library), "..", "..", file)}
	for _, lib := range pythonFolders() {
		for _, packages := range []string{"site-packages", "dist-packages"} {
			patterns = append(patterns, filepath.Join(lib, "python3*", packages, file))
		}
	}
	for _, pattern := range patterns {
		list, _ := filepath.Glob(pattern)
		for _, path := range list {
			if !slices.Contains(found, path) {
				found = append(found, path)
			}
		}
	}
	return found
}

// register loads a provider's own library and finds the device to compute on; a library that was registered
// before stays so.
func (r *library) register(o *Options) error {
	names := fullNames[o.Provider]
	if _, ok := pluginFiles[o.Provider]; !ok {
		return fmt.Errorf("a provider's own library is for openvino, not %s", o.Provider)
	}
	var err error
	o.Provider.onOwner(func() { err = r.api.RegisterPlugin(r.env, "vitrine-"+string(o.Provider), o.Plugin) })
	var e *capi.Error
	if err != nil && !(errors.As(err, &e) && strings.Contains(e.Text, "already")) {
		return err
	}
	if r.device, err = r.api.PluginDevice(r.env, []string{names.name, names.name + ".CPU"}); err != nil {
		return err
	}
	if r.device == 0 {
		return fmt.Errorf("%s takes no processor of this machine: as a plug-in OpenVINO takes Intel's alone; the library of %s takes others too (--onnxruntime-library)",
			filepath.Base(o.Plugin), names.pack)
	}
	return nil
}

// provide tells how a library comes to a provider: plugin is the provider's own library, "" where ONNX
// Runtime's has it. The error says what to install.
func provide(api *capi.API, p Provider) (plugin string, err error) {
	has, err := api.Providers()
	if err != nil {
		return "", err
	}
	if slices.Contains(has, fullNames[p].name) {
		return "", nil
	}
	if found := SearchPlugins(p, api.Path); len(found) > 0 {
		return found[0], nil
	}
	return "", fmt.Errorf("ONNX Runtime %s of %s has no provider %s, only %s: pip install %s, or name another library with --onnxruntime-library",
		api.Release, api.Path, p, strings.Join(has, ", "), fullNames[p].pack)
}

// Offers are the providers of a library, those included that come by a library of their own.
func Offers(api *capi.API) (all []string) {
	for _, p := range Providers() {
		plugin, err := provide(api, p)
		switch {
		case err != nil:
		case plugin != "":
			all = append(all, string(p)+" (plug-in)")
		default:
			all = append(all, string(p))
		}
	}
	return all
}

// Check tells whether a library comes to a provider, without computing with it.
func Check(api *capi.API, p Provider) error {
	_, err := provide(api, p)
	return err
}
