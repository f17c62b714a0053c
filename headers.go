package rolebus

import (
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
)

// maxLines is how many header lines a message may have, see complete.
const maxLines = 40

// headers are those of a message that matter here, each looked at once. To ask a map for a dozen names, most of which it has
// not, takes as long as to decode the rest of a message.
type headers struct {
	ours      []string // the values of our own
	operation string   // "" of a key that is there, DEL of one that is deleted for every KV client
	scheduler string   // the schedule that wrote the message

	schedule, target string // of a lease: when it writes, and where
	source           bool   // and it writes something else than it says itself

	// What the server says of the message. It adds its own to those of the message: whoever wrote that may have used the same
	// name, so the last one counts.
	stream, subject, sequence, at, before string

	repeated int    // how often one of those stands there, the one that does most
	which    string // and its name

	size, lines int // of all headers, as complete reckons them
}

// readHeaders looks at the headers of a message.
func readHeaders(hdr nats.Header) (h headers) {
	for name, values := range hdr {
		for _, value := range values {
			h.size, h.lines = h.size+len(name)+len(value)+len(": \r\n"), h.lines+1
		}
		switch name {
		case header:
			h.ours = values
		case "KV-Operation":
			h.operation = newestOf(values)
		case "Nats-Scheduler":
			h.scheduler = newestOf(values)
		case "Nats-Schedule":
			h.schedule = newestOf(values)
		case "Nats-Schedule-Target":
			h.target = newestOf(values)
		case "Nats-Schedule-Source":
			h.source = true
		case "Nats-Stream":
			h.said(&h.stream, name, values)
		case "Nats-Subject":
			h.said(&h.subject, name, values)
		case "Nats-Sequence":
			h.said(&h.sequence, name, values)
		case "Nats-Time-Stamp":
			h.said(&h.at, name, values)
		case "Nats-Last-Sequence":
			h.said(&h.before, name, values)
		}
	}
	return h
}

// said takes note of what the server says.
func (h *headers) said(what *string, name string, values []string) {
	*what = newestOf(values)
	if len(values) > h.repeated {
		h.repeated, h.which = len(values), name
	}
}

func newestOf(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[len(values)-1]
}

// storedAt returns when the message was stored, by the server's clock; the zero time if it does not say.
func (h *headers) storedAt() time.Time {
	at, _ := time.Parse(time.RFC3339Nano, h.at)
	return at
}

// honest refuses a message that has more of the server's headers than the server added: its writer speaks in the server's
// name, or made the server write it, by asking for another message and giving the record's subject for the answer.
func (h *headers) honest(added int) error {
	if h.repeated > added {
		return fmt.Errorf("its writer says %s", h.which)
	}
	return nil
}

// complete says whether the headers that were parsed are all that came, in so many bytes. A sender can write headers that end
// early, or cannot be parsed, so that those which the server added are not seen, and claim in their place to be another
// message. What is hidden makes the headers larger than what was parsed. A line takes at most two bytes less than is reckoned
// here, so few lines cannot make up for it.
func (h *headers) complete(came int) bool {
	return came <= len("NATS/1.0\r\n\r\n")+h.size && h.lines <= maxLines
}

// headersCame is how many bytes the headers of a message took.
func headersCame(msg *nats.Msg) int {
	return msg.Size() - len(msg.Subject) - len(msg.Reply) - len(msg.Data)
}
