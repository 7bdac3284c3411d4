package inspect

import (
	"bytes"
	"strings"
)

// vocabulary keeps one copy of each text that mount tables repeat: on a large
// host hundreds of them say nearly the same.
type vocabulary struct {
	words map[string]string
	lists map[string][]string
}

// What a hostile table may leave in a vocabulary is bounded.
const (
	maxWords   = 2048
	maxWordLen = 128 // bytes
)

func (v *vocabulary) word(text []byte) string {
	if known, ok := v.words[string(text)]; ok {
		return known
	}
	word := string(text)
	if v.words == nil {
		v.words = make(map[string]string)
	}
	if len(v.words) < maxWords && len(word) <= maxWordLen {
		v.words[word] = word
	}
	return word
}

// options splits a list of options, which may be empty. Nobody may change it.
func (v *vocabulary) options(field []byte) []string {
	field = bytes.TrimRight(field, " ")
	if known, ok := v.lists[string(field)]; ok {
		return known
	}
	list := []string{}
	if len(field) > 0 {
		list = strings.Split(string(field), ",")
	}
	if v.lists == nil {
		v.lists = make(map[string][]string)
	}
	if len(v.lists) < maxWords && len(field) <= maxWordLen {
		v.lists[string(field)] = list
	}
	return list
}

func (v *vocabulary) propagation(optional []byte) string {
	if len(optional) == 0 {
		return "private"
	}
	return v.word(optional)
}
