package cli

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/pflag"
)

// EnvPrefix begins the name of every environment variable.
const EnvPrefix = "VITRINE_"

// EnvName is the environment variable of a flag: max-batch-size is VITRINE_MAX_BATCH_SIZE.
func EnvName(flag string) string {
	return EnvPrefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// Binder gives flags their values: what the command line says, else the environment, else the file,
// else the default.
//
// An unknown key of the file is refused; an unknown VITRINE_ variable is not, because Kubernetes sets
// such names by itself in every pod beside a service called "vitrine" (VITRINE_SERVICE_HOST, VITRINE_PORT).
type Binder struct {
	// LookupEnv finds a variable; os.LookupEnv outside tests.
	LookupEnv func(string) (string, bool)
	// Known tells whether a key of the file is a flag of any command: one file serves them all.
	Known func(flag string) bool
	// Flags are all flags of all commands, for the suggestion in an error; may be nil.
	Flags []string
}

// Bind sets every flag of fs that the command line did not. path is the file, "" for none.
func (b Binder) Bind(fs *pflag.FlagSet, path string) error {
	file := map[string]entry{}
	if path != "" {
		text, err := os.ReadFile(path)
		if err != nil {
			return Usage{fmt.Errorf("--config: %w", err)}
		}
		if file, err = b.parse(path, text); err != nil {
			return Usage{err}
		}
	}
	var errs []error
	fs.VisitAll(func(f *pflag.Flag) {
		if f.Changed || !Bindable(f) {
			return
		}
		errs = append(errs, b.bind(fs, f, path, file))
	})
	if err := errors.Join(errs...); err != nil {
		return Usage{err}
	}
	return nil
}

func (b Binder) bind(fs *pflag.FlagSet, f *pflag.Flag, path string, file map[string]entry) error {
	if v, ok := b.LookupEnv(EnvName(f.Name)); ok {
		if err := fs.Set(f.Name, v); err != nil {
			return fmt.Errorf("%s: invalid value %q: %w", EnvName(f.Name), v, cause(err))
		}
		return nil
	}
	e, ok := file[f.Name]
	if !ok {
		return nil
	}
	if err := fs.Set(f.Name, e.value); err != nil {
		return fmt.Errorf("%s:%d: %s: invalid value %q: %w", path, e.line, f.Name, e.value, cause(err))
	}
	return nil
}

// Bindable tells whether a flag may also come from the environment and the file. What selects the file,
// asks for help or prints in another form is typed, not configured.
func Bindable(f *pflag.Flag) bool {
	return f.Name != "help" && f.Name != "config" && len(f.Annotations[typedOnly]) == 0
}

// cause strips pflag's own preamble, which names a flag that nobody typed.
func cause(err error) error {
	var invalid *pflag.InvalidValueError
	if errors.As(err, &invalid) {
		return invalid.Unwrap()
	}
	return err
}
