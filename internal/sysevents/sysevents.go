// Package sysevents lets the accounts of a nats-server in this process hear which of their connections ended.
//
// nats-server tells its system account of every client that goes, in $SYS.ACCOUNT.<account>.DISCONNECT: for a process
// that was killed that is the quickest news there is. An account hears of it if the system account exports the subject
// and the account imports it.
package sysevents

import (
	"errors"

	"github.com/nats-io/nats-server/v2/server"
)

// Subject is where an account hears of its own connections that ended, in any of the servers of a cluster.
const Subject = "rolebus.sys.disconnect"

// Import lets every account of a server, and of no other server, hear on [Subject] which of its own connections ended. It
// must be called between NewServer and Start, with the options that NewServer got: nobody is connected yet, and a
// subscription that is older than an import hears nothing through it.
//
// It adds to what the options say and changes nothing of it: the global account stays what clients without an account
// are in, and where JetStream keeps their data. It does nothing if there is no system account, or if accounts come as JWTs
// from an operator, who alone says what they import. An account that imports the same events by its own configuration
// keeps that.
func Import(ns *server.Server, o *server.Options) {
	if o.NoSystemAccount || len(o.TrustedOperators) > 0 || len(o.TrustedKeys) > 0 || o.AccountResolver != nil {
		return
	}
	if o.SystemAccount == "" {
		// As Start would make it. Made earlier, it must be named, else Start would take it for one that is set up.
		ns.LookupOrRegisterAccount(server.DEFAULT_SYSTEM_ACCOUNT)
		o.SystemAccount = server.DEFAULT_SYSTEM_ACCOUNT
	}
	system, err := ns.LookupAccount(o.SystemAccount)
	if err != nil {
		return // Start says so
	}
	importInto(ns.GlobalAccount(), system)
	for _, defined := range o.Accounts {
		if account, err := ns.LookupAccount(defined.Name); err == nil {
			importInto(account, system)
		}
	}
}

// Declare has the accounts of these options import the same, so that it is there from the start, and again when the options are reloaded, which
// takes from accounts what is not in the options. system is one of them.
func Declare(o *server.Options, system *server.Account) {
	for _, account := range o.Accounts {
		importInto(account, system)
	}
}

// importInto leaves an account as it is if its own configuration has the import already, or does not allow it.
func importInto(account, system *server.Account) {
	if account == system {
		return
	}
	events := "$SYS.ACCOUNT." + account.Name + ".DISCONNECT"
	err := account.AddMappedStreamImport(system, events, Subject)
	if errors.Is(err, server.ErrStreamImportAuthorization) && system.AddStreamExport(events, []*server.Account{account}) == nil {
		_ = account.AddMappedStreamImport(system, events, Subject)
	}
}
