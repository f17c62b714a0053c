//go:build !race

package atonce

const race = false
