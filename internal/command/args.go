package command

import (
	"slices"
	"strconv"
	"strings"
)

// commaList splits "a,b"; blanks around the commas do not count.
func commaList(s string) []string {
	var list []string
	for _, part := range strings.Split(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			list = append(list, part)
		}
	}
	return list
}

// pid reads an operand as a process ID; "self" is nsinspect itself.
func (in *invocation) pid(operand string) (int, error) {
	if operand == "self" {
		if in.fs.Reader.PID == 0 {
			return 0, usageError("self: this procfs does not show nsinspect itself")
		}
		return in.fs.Reader.PID, nil
	}
	pid, err := strconv.ParseInt(operand, 10, 32)
	if err != nil || pid <= 0 || operand[0] == '+' {
		return 0, usageError("%q is not a process ID: it is a positive number, or self", operand)
	}
	return int(pid), nil
}

// named is a process for a command to paste: nsinspect's own ID is nobody's by
// then.
func (in *invocation) named(id int) string {
	if in.flags.Args().First() == "self" && id == in.fs.Reader.PID {
		return "self"
	}
	return strconv.Itoa(id)
}

// operands are at most so many (most < 0: any number).
func (in *invocation) operands(most int) ([]string, error) {
	operands := in.flags.Args().Slice()
	name := in.flags.Command.Name
	switch {
	case most < 0 || len(operands) <= most:
		return operands, nil
	case most == 0:
		return nil, usageError("%s takes no operand, but got %q", name, operands[0])
	}
	return nil, usageError("%s takes %d operand, but got %q too", name, most, operands[most])
}

// pids reads operands as process IDs, at least and at most so many (most < 0:
// any number). One that is given twice counts once.
func (in *invocation) pids(least, most int) ([]int, error) {
	operands, err := in.operands(most)
	if err != nil {
		return nil, err
	}
	if len(operands) < least {
		return nil, usageError("%s: which process? give its ID", in.flags.Command.Name)
	}
	var list []int
	for _, o := range operands {
		pid, err := in.pid(o)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(list, pid) {
			list = append(list, pid)
		}
	}
	return list, nil
}
