package scenario

import "os/exec"

// missingPython says why nothing can be encoded with an interpreter, or "".
func missingPython(python string) string {
	switch {
	case python == "":
		return "encoding with Python: no interpreter is named"
	case exec.Command(python, "-c", "import numpy").Run() != nil:
		return "encoding with Python: the interpreter is missing or has no numpy"
	}
	return ""
}
