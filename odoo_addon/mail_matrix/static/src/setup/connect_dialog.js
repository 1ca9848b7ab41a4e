import {Component, useState} from "@odoo/owl";
import {Dialog} from "@web/core/dialog/dialog";
import {_t} from "@web/core/l10n/translation";
import {registry} from "@web/core/registry";
import {useFocusBack} from "@mail_matrix/focus/focus_back";
import {useService} from "@web/core/utils/hooks";

/**
 * Connects the account of a backend, by its password or by a token.
 *
 * A dialog and not a wizard: the values of a wizard are stored, and the password must
 * be used once and be gone.
 */
export class MatrixConnectDialog extends Component {
    static template = "mail_matrix.ConnectDialog";
    static components = {Dialog};
    static props = {
        close: Function,
        onConnected: Function,
        backendId: {type: [Number, Boolean], optional: true},
        url: {type: String, optional: true},
        verify: {type: Boolean, optional: true},
    };
    static defaultProps = {backendId: false, url: "", verify: true};

    setup() {
        useFocusBack();
        this.http = useService("http");
        this.notification = useService("notification");
        this.title = _t("Connect a Homeserver");
        this.state = useState({
            url: this.props.url,
            verify: this.props.verify,
            way: "password",
            user: "",
            password: "",
            token: "",
            problem: "",
            busy: false,
        });
    }

    get secrets() {
        const {way, user, password, token} = this.state;
        return way === "token" ? {token} : {user, password};
    }

    async connect() {
        if (this.state.busy) {
            return;
        }
        const {url, verify} = this.state;
        this.state.busy = true;
        this.state.problem = "";
        try {
            const answer = await this.http.post("/mail_matrix/connect", {
                csrf_token: odoo.csrf_token,
                backend_id: this.props.backendId || "",
                url: url.trim(),
                verify,
                ...this.secrets,
            });
            this.take(answer);
        } catch {
            this.state.problem = _t("Odoo did not answer. Reload the page and try again.");
        } finally {
            this.state.busy = false;
        }
    }

    take(answer) {
        if (!answer.backend) {
            this.state.url = answer.url || this.state.url;
            this.state.problem = answer.problem;
            return;
        }
        const type = answer.problem ? "danger" : "success";
        this.notification.add(
            answer.problem || _t("Account: %(account)s", {account: answer.account}),
            {type, title: answer.problem ? _t("Connection failed") : _t("Connected to Matrix")}
        );
        this.props.close();
        this.props.onConnected();
    }
}

registry.category("actions").add("mail_matrix.connect", (env, action, options = {}) => {
    env.services.dialog.add(MatrixConnectDialog, {
        ...action.params,
        onConnected:
            options.onClose || (() => env.services.action.doAction("soft_reload")),
    });
});
