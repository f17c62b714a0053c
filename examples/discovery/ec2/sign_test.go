package ec2

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The signatures that AWS publishes for these requests.
func TestSignaturesAreThoseThatAWSPublishes(t *testing.T) {
	who := Credentials{Key: "AKIDEXAMPLE", Secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"}
	now := time.Date(2015, 8, 30, 12, 36, 0, 0, time.UTC)
	for _, c := range []struct{ url, contentType, service, want string }{
		{"https://iam.amazonaws.com/?Action=ListUsers&Version=2010-05-08", "application/x-www-form-urlencoded; charset=utf-8", "iam",
			"5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"},
		{"https://example.amazonaws.com/", "", "service", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
	} {
		req, err := http.NewRequest(http.MethodGet, c.url, nil)
		require.NoError(t, err)
		if c.contentType != "" {
			req.Header.Set("Content-Type", c.contentType)
		}
		who.sign(req, "us-east-1", c.service, now)
		_, signature, _ := strings.Cut(req.Header.Get("Authorization"), "Signature=")
		require.Equal(t, c.want, signature)
	}
}
