package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/call"
)

// customers is how many call each method at the same time, one call after another.
const customers = 6

// market is where customers call shops, and what became of their calls.
type market struct {
	price  func(context.Context, Order) (Price, error)
	charge func(context.Context, Order) (Receipt, error)

	orders   atomic.Int64
	answered atomic.Int64
	calling  sync.WaitGroup
	closing  atomic.Bool
	cancel   context.CancelFunc

	mu       sync.Mutex
	outcomes []outcome
}

// outcome is what a customer was told.
type outcome struct {
	method string
	order  int
	err    error
}

// open begins to call.
func (m *market) open(ctx context.Context, scope *rolebus.Scope) {
	// It may run again, so it does, on another node, until it is answered.
	m.price = call.Func[Order, Price](scope, shop, "price",
		call.Idempotent(), call.Retry(9), call.Backoff(5*time.Millisecond, 200*time.Millisecond))
	// It must not run twice, and so one attempt is all. With Retry what certainly did not run would be tried again; without it we
	// see how often that is.
	m.charge = call.Func[Order, Receipt](scope, shop, "charge")

	ctx, m.cancel = context.WithCancel(ctx)
	for range customers {
		m.calling.Go(func() { m.visit(ctx, "price", m.askPrice) })
		m.calling.Go(func() { m.visit(ctx, "charge", m.pay) })
	}
}

// visit calls again and again, until the market closes.
func (m *market) visit(ctx context.Context, method string, buy func(context.Context, Order) error) {
	for ctx.Err() == nil && !m.closing.Load() {
		id := int(m.orders.Add(1))
		err := buy(ctx, Order{id, fmt.Sprint("item ", id%100)})
		if err == nil {
			m.answered.Add(1)
		}
		m.mu.Lock()
		m.outcomes = append(m.outcomes, outcome{method, id, err})
		m.mu.Unlock()
	}
}

func (m *market) askPrice(ctx context.Context, o Order) error {
	price, err := m.price(ctx, o)
	if err == nil && price.Cents != o.cents() {
		return fmt.Errorf("order %d: the price is %d, and was said to be %d", o.ID, o.cents(), price.Cents)
	}
	return err
}

func (m *market) pay(ctx context.Context, o Order) error {
	receipt, err := m.charge(ctx, o)
	if err == nil && receipt != (Receipt{o.ID, o.cents()}) {
		return fmt.Errorf("order %d: the receipt says %+v", o.ID, receipt)
	}
	return err
}

// close returns when every call has ended.
func (m *market) close() {
	m.closing.Store(true)
	m.calling.Wait()
}

// abort cuts short what is under way.
func (m *market) abort() {
	if m.cancel != nil {
		m.cancel()
	}
	m.close()
}
