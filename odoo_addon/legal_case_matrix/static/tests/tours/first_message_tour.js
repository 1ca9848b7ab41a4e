import {registry} from "@web/core/registry";

// The test's homeserver is at another port each time.
const homeserver = () => decodeURIComponent(document.cookie.match(/matrix_homeserver=([^;]+)/)[1]);

const step = (key, done) =>
    `.o_matrix_setup [data-step=${key}][data-done=${done ? "yes" : "no"}]`;

const openOverview = [
    {trigger: ".o_menu_brand:contains(Matrix)", run: "click"},
    {trigger: ".o_matrix_setup"},
];

/** From an empty Overview to a message in the room of a case. */
registry.category("web_tour.tours").add("matrix_first_message", {
    steps: () => [
        {trigger: ".o_matrix_setup:contains(0 of 3 steps done)"},
        {trigger: `${step("connect", false)} button`, run: "click"},
        {
            trigger: "#o_matrix_url",
            async run(helpers) {
                await helpers.edit(homeserver());
            },
        },
        {trigger: "#o_matrix_user", run: "edit odoo-bot"},
        {trigger: "#o_matrix_password", run: "edit wrong"},
        {trigger: ".modal-footer .btn-primary:contains(Connect)", run: "click"},
        {trigger: ".modal .alert-danger:contains(does not accept this user name)"},
        {trigger: "#o_matrix_password", run: "edit secret of the bot"},
        {trigger: ".modal-footer .btn-primary:contains(Connect)", run: "click"},
        {trigger: ".o_notification:contains(Connected to Matrix)"},
        {trigger: ".o_matrix_setup:contains(1 of 3 steps done)"},
        {trigger: step("connect", true)},
        {trigger: `${step("room", false)} button`, run: "click"},
        {trigger: ".o_data_row .o_data_cell:contains(Ida v. Rest)", run: "click"},
        // On the page Matrix.
        {trigger: "button[name=action_matrix_create_room]:contains(Create Room)", run: "click"},
        {trigger: ".o_notification:contains(Room created)"},
        ...openOverview,
        {trigger: ".o_matrix_setup:contains(2 of 3 steps done)"},
        {trigger: `${step("message", false)} button`, run: "click"},
        {trigger: "button[name=action_matrix_send_test]", run: "click"},
        {trigger: ".o_matrix_deliveries [data-outcome=waiting]"},
        {
            trigger: ".o_matrix_deliveries li:contains(Hello from Odoo)",
            // The worker of the test sends what was looked at in this way.
            async run() {
                const id = Number(location.pathname.split("/").at(-1));
                await fetch("/web/dataset/call_kw", {
                    method: "POST",
                    headers: {"Content-Type": "application/json"},
                    body: JSON.stringify({
                        jsonrpc: "2.0",
                        method: "call",
                        params: {
                            model: "legal.case",
                            method: "get_matrix_deliveries",
                            args: [[id]],
                            kwargs: {context: {matrix_seen: true}},
                        },
                    }),
                });
            },
        },
        {trigger: ".o_matrix_deliveries [data-outcome=ok]"},
        ...openOverview,
        {trigger: ".o_matrix_setup:contains(3 of 3 steps done)"},
    ],
});
