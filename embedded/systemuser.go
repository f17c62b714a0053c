package embedded

import (
	"cmp"
	"errors"
	"slices"
	"sync/atomic"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/rolebus/rolebus/internal/sysevents"
)

// How a process is the one user of its server's system account, beside all whom users let in.

// inOrder puts in order what nats-server would put in order itself when options are reloaded, while others read it.
func inOrder(o *server.Options) {
	slices.SortFunc(o.Users, func(a, b *server.User) int { return cmp.Compare(a.Username, b.Username) })
	slices.SortFunc(o.Nkeys, func(a, b *server.NkeyUser) int { return cmp.Compare(a.Nkey, b.Nkey) })
	slices.SortFunc(o.Accounts, func(a, b *server.Account) int { return cmp.Compare(a.Name, b.Name) })
}

// systemUser lets this process, and nobody else, use the system account, and leaves it as it is who may connect. It returns how.
func systemUser(o *server.Options) (nats.Option, error) {
	o.SystemAccount = cmp.Or(o.SystemAccount, systemAccount)
	o.Users, o.Nkeys, o.Accounts = slices.Clone(o.Users), slices.Clone(o.Nkeys), slices.Clone(o.Accounts)
	var account *server.Account
	for _, a := range o.Accounts {
		if a.Name == o.SystemAccount {
			account = a
		}
	}
	if account == nil {
		account = server.NewAccount(o.SystemAccount)
		o.Accounts = append(o.Accounts, account)
	}
	sysevents.Declare(o, account)
	switch {
	case o.CustomClientAuthentication != nil:
		own := &server.User{Username: "rolebus-" + randomText(), Password: randomText() + randomText(), Account: account}
		o.CustomClientAuthentication = &orOwn{user: own, other: o.CustomClientAuthentication}
		return nats.UserInfo(own.Username, own.Password), nil
	case o.Authorization != "":
		return nil, errors.New("server options: Authorization, a token for all, is not for a cluster: give Username and Password, Users or Nkeys")
	case o.Username != "":
		o.Users = append(o.Users, &server.User{Username: o.Username, Password: o.Password})
		o.Username, o.Password = "", ""
	case len(o.Users) == 0 && len(o.Nkeys) == 0: // everybody may connect
		o.Users = []*server.User{{Username: "anybody-" + randomText(), Password: randomText() + randomText()}}
		o.NoAuthUser = o.Users[0].Username
	}
	key, err := nkeys.CreateUser()
	if err != nil {
		return nil, err
	}
	public, err := key.PublicKey()
	if err != nil {
		return nil, err
	}
	o.Nkeys = append(o.Nkeys, &server.NkeyUser{Nkey: public, Account: account})
	return nats.Nkey(public, key.Sign), nil
}

// orOwn takes this process for itself, and asks a user's own authentication about all others.
type orOwn struct {
	ns    atomic.Pointer[server.Server] // nil until it runs: nobody is this process before
	user  *server.User
	other server.Authentication
}

func (a *orOwn) Check(c server.ClientAuthentication) bool {
	if o, ns := c.GetOpts(), a.ns.Load(); ns != nil && same(o.Username, a.user.Username) && same(o.Password, a.user.Password) {
		account, err := ns.LookupAccount(a.user.Account.Name) // the server's own: that of the options is what it was made of
		if err != nil {
			return false
		}
		c.RegisterUser(&server.User{Username: a.user.Username, Account: account})
		return true
	}
	return a.other.Check(c)
}
