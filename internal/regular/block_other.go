//go:build !unix

package regular

// neverBlock is nothing where what can be opened by a path does not block.
const neverBlock = 0
