// delay TIME: lets every packet of its network that waits in the queue go on after a time, in the order in which they came.
//
// For `./dev chaos`, where the kernel's own way (netem) may be missing. Whatever iptables sends to the queue (NFQUEUE, with
// --queue-bypass) is late for as long as this runs, and passes at once when it does not.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	nfqueue "github.com/florianl/go-nfqueue/v2"
)

// Queue is the number that the rules of iptables name, too.
const Queue = 4242

// Packets that wait at a time; of more, the kernel lets those pass that find no place.
const most = 8192

type waiting struct {
	id  uint32
	due time.Time
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	if len(arguments) != 1 {
		return fmt.Errorf("name a time, as 200ms")
	}
	late, err := time.ParseDuration(arguments[0])
	if err != nil || late <= 0 {
		return fmt.Errorf("%s is no time: name one as 200ms", arguments[0])
	}
	queue, err := nfqueue.Open(&nfqueue.Config{
		NfQueue:      Queue,
		MaxQueueLen:  most,
		MaxPacketLen: 128,
		Copymode:     nfqueue.NfQnlCopyMeta,
		Flags:        nfqueue.NfQaCfgFlagFailOpen,
	})
	if err != nil {
		return err
	}
	defer queue.Close()
	stopped, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	held := make(chan waiting, 2*most)
	taken := func(packet nfqueue.Attribute) int {
		if packet.PacketID != nil {
			held <- waiting{*packet.PacketID, time.Now().Add(late)}
		}
		return 0
	}
	// What is lost between the kernel and here was let through (fail open): nothing to end for.
	if err := queue.RegisterWithErrorFunc(stopped, taken, func(error) int { return 0 }); err != nil {
		return err
	}
	fmt.Println("ready")
	for {
		select {
		case <-stopped.Done():
			return nil
		case one := <-held:
			time.Sleep(time.Until(one.due))
			if err := queue.SetVerdict(one.id, nfqueue.NfAccept); err != nil {
				return err
			}
		}
	}
}
