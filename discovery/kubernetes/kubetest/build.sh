#!/bin/sh
# build.sh FILE [FLAGS OF go build] builds kubetest into FILE: 4 to 12 minutes of two cores the first time, seconds after that.
#
# No inlining and nothing for debuggers, which saves a third. Flags are part of the key of Go's build cache: with others, as those of vet or
# of the race detector, all of it would be built once more.
set -eu
case ${1:-} in
/*) ;;
*) echo "usage: build.sh /FILE [FLAGS OF go build]" >&2 && exit 2 ;;
esac
file=$1
shift
cd "$(dirname "$0")"
version=$(go list -m -f '{{.Version}}' k8s.io/kubernetes)
minor=${version#v1.}
set_to=k8s.io/component-base/version
CGO_ENABLED=0 go build -gcflags='all=-l -dwarf=false' \
	-ldflags="-s -w -X $set_to.gitVersion=$version -X $set_to.gitMajor=1 -X $set_to.gitMinor=${minor%%.*}" -o "$file" "$@" .
