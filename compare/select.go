package compare

import (
	"fmt"
	"slices"
	"strings"
)

// UnknownCheckError is the name of a check that there is none of. Near is a
// check that may have been meant, or empty.
type UnknownCheckError struct{ Name, Near string }

func (e *UnknownCheckError) Error() string {
	if e.Near == "" {
		return fmt.Sprintf("unknown check %q", e.Name)
	}
	return fmt.Sprintf("unknown check %q, perhaps %s", e.Name, e.Near)
}

// Find returns the check with this name. The error is an UnknownCheckError.
func Find(name string) (Check, error) {
	i := slices.IndexFunc(Checks, func(c Check) bool { return c.Name == name })
	if i < 0 {
		return Check{}, &UnknownCheckError{Name: name, Near: near(name)}
	}
	return Checks[i], nil
}

// Select returns the checks that only names, or all if it names none, without
// those that skip names, in the order of Checks. The error is an
// UnknownCheckError.
func Select(only, skip []string) ([]Check, error) {
	for _, name := range slices.Concat(only, skip) {
		if _, err := Find(name); err != nil {
			return nil, err
		}
	}
	var chosen []Check
	for _, c := range Checks {
		if (len(only) == 0 || slices.Contains(only, c.Name)) && !slices.Contains(skip, c.Name) {
			chosen = append(chosen, c)
		}
	}
	return chosen, nil
}

// near is the check whose name is nearest.
func near(name string) string {
	var names []string
	for _, c := range Checks {
		names = append(names, c.Name)
	}
	return Near(name, names)
}

// Near is the one of the names that begins with this one, in whole words, or
// else the one from which it is fewest slips of the pen away, and two at most.
func Near(name string, names []string) string {
	name = strings.ReplaceAll(strings.ToLower(name), "_", "-")
	var begins []string
	closest, least := "", 3
	for _, candidate := range names {
		if strings.HasPrefix(candidate, name+"-") {
			begins = append(begins, candidate)
		}
		if n := slips(name, candidate); n < least {
			closest, least = candidate, n
		}
	}
	if closest == "" && len(begins) == 1 {
		return begins[0]
	}
	return closest
}

// slips is how many letters were left out, put in or put in another's place
// between two words: the Levenshtein distance.
func slips(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j+1]+1, row[j]+1)
		}
	}
	return row[len(b)]
}
