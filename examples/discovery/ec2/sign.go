package ec2

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Credentials are those of a user or a role. Session is "" for a user's.
type Credentials struct{ Key, Secret, Session string }

// sign signs a request without a body as AWS wants it (Signature Version 4), with all its headers. Its query must be sorted.
func (c Credentials) sign(req *http.Request, region, service string, now time.Time) {
	at := now.UTC().Format("20060102T150405Z")
	req.Header.Set("X-Amz-Date", at)
	if c.Session != "" {
		req.Header.Set("X-Amz-Security-Token", c.Session)
	}
	headers := map[string]string{"host": req.URL.Host}
	names := []string{"host"}
	for name := range req.Header {
		low := strings.ToLower(name)
		names = append(names, low)
		headers[low] = strings.TrimSpace(req.Header.Get(name))
	}
	slices.Sort(names)
	query := strings.ReplaceAll(req.URL.RawQuery, "+", "%20")
	lines := []string{req.Method, "/", query}
	for _, name := range names {
		lines = append(lines, name+":"+headers[name])
	}
	signed := strings.Join(names, ";")
	lines = append(lines, "", signed, hash("")) // the body is empty

	scope := at[:8] + "/" + region + "/" + service + "/aws4_request"
	key := []byte("AWS4" + c.Secret)
	for part := range strings.SplitSeq(scope, "/") {
		key = mac(key, part)
	}
	signature := mac(key, "AWS4-HMAC-SHA256\n"+at+"\n"+scope+"\n"+hash(strings.Join(lines, "\n")))
	req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+c.Key+"/"+scope+", SignedHeaders="+signed+", Signature="+hex.EncodeToString(signature))
}

func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}
