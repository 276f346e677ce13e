// Does with gambol99/go-marathon what the test asks for by name, and prints what the client understood, as JSON.
package main

import (
	"encoding/json"
	"log"
	"os"
	"time"

	marathon "github.com/gambol99/go-marathon"
)

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func show(found any) {
	check(json.NewEncoder(os.Stdout).Encode(found))
}

func app(id string) *marathon.Application {
	made := marathon.NewDockerApplication().Name(id).CPU(0.1).Memory(32).Count(2).AddLabel("tier", "web")
	made.Container.Docker.Container("shop/cart:1").Bridged().ExposePort(marathon.PortMapping{ContainerPort: 80, Protocol: "tcp"})
	health := marathon.NewDefaultHealthCheck().SetPath("/health").SetPortIndex(0)
	made.HealthChecks = &[]marathon.HealthCheck{health}
	return made
}

func main() {
	config := marathon.NewDefaultConfig()
	config.URL = os.Args[1]
	config.EventsTransport = marathon.EventsTransportSSE
	client, err := marathon.NewClient(config)
	check(err)
	switch os.Args[2] {
	case "process":
		pong, err := client.Ping()
		check(err)
		info, err := client.Info()
		check(err)
		leader, err := client.Leader()
		check(err)
		show(map[string]any{"ping": pong, "name": info.Name, "frameworkId": info.FrameworkID, "leader": leader})
	case "create":
		made, err := client.CreateApplication(app("/shop/cart"))
		check(err)
		show(map[string]any{"id": made.ID, "deployments": len(made.DeploymentIDs()), "version": made.Version != ""})
	case "look":
		found, err := client.Application("/shop/cart")
		check(err)
		tasks, err := client.Tasks("/shop/cart")
		check(err)
		ok, err := client.ApplicationOK("/shop/cart")
		check(err)
		versions, err := client.ApplicationVersions("/shop/cart")
		check(err)
		groups, err := client.Groups()
		check(err)
		show(map[string]any{
			"instances": *found.Instances, "running": found.TasksRunning, "tasks": len(tasks.Tasks), "ok": ok,
			"servicePorts": tasks.Tasks[0].ServicePorts, "versions": len(versions.Versions), "groups": len(groups.Groups),
		})
	case "change":
		scaled, err := client.ScaleApplicationInstances("/shop/cart", 3, true)
		check(err)
		restarted, err := client.RestartApplication("/shop/cart", true)
		check(err)
		deployments, err := client.Deployments()
		check(err)
		versions, err := client.ApplicationVersions("/shop/cart")
		check(err)
		back, err := client.SetApplicationVersion("/shop/cart", &marathon.ApplicationVersion{Version: versions.Versions[1]})
		check(err)
		queue, err := client.Queue()
		check(err)
		show(map[string]any{
			"scaled": scaled.DeploymentID != "", "restarted": restarted.Version, "affected": deployments[0].AffectedApps,
			"steps": len(deployments[0].Steps), "back": back.Version == versions.Versions[1], "queue": queue.Items[0].Count,
		})
	case "group":
		group := marathon.NewApplicationGroup("/shop").App(app("/shop/cart"))
		check(client.CreateGroup(group))
		there, err := client.HasGroup("/shop")
		check(err)
		deleted, err := client.DeleteGroup("/shop", true)
		check(err)
		show(map[string]any{"there": there, "deleted": deleted.DeploymentID != ""})
	case "events":
		events, err := client.AddEventsListener(marathon.EventIDApplications | marathon.EventIDAPIRequest | marathon.EventIDDeploymentInfo)
		check(err)
		show("follows")
		for {
			select {
			case event := <-events:
				show(event.Name)
				if event.Name == "status_update_event" {
					update := event.Event.(*marathon.EventStatusUpdate)
					show(map[string]any{"app": update.AppID, "state": update.TaskStatus, "task": update.TaskID})
					return
				}
			case <-time.After(60 * time.Second):
				log.Fatal("no event for a minute")
			}
		}
	case "wrong":
		_, err := client.Application("/no/such")
		apiErr, _ := err.(*marathon.APIError)
		bad := app("/shop/cart")
		bad.CPUs = -1
		_, refused := client.CreateApplication(bad)
		show(map[string]any{"code": apiErr.ErrCode == marathon.ErrCodeNotFound, "refused": refused.Error()})
	}
}
